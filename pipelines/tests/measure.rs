//! `gst-neural upscale --measure`: the figures are FFmpeg's, and nothing of the upscaling suffers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A clip of 640x360 and the same, shrunk and without loss, of 320x180.
struct Pair {
    dir: tempfile::TempDir,
    small: PathBuf,
    truth: PathBuf,
}

const FRAMES: u64 = 45;

impl Pair {
    fn new() -> Option<Self> {
        let clips = clips()?;
        let dir = tempfile::tempdir().unwrap();
        let (small, truth) = (dir.path().join("small.mp4"), dir.path().join("truth.mp4"));
        let clip = clips.join("city_rooftop_360p.mp4");
        for (out, filter) in [(&small, "scale=320:180:flags=bicubic"), (&truth, "null")] {
            ffmpeg(&[
                "-i",
                clip.to_str().unwrap(),
                "-an",
                "-frames:v",
                &FRAMES.to_string(),
                "-vf",
                filter,
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-qp",
                "0",
                "-g",
                "12",
                out.to_str().unwrap(),
            ]);
        }
        Some(Self { dir, small, truth })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The small one upscaled without loss and measured against `truth`.
    fn measured(&self, out: &Path, truth: &Path) -> Command {
        let mut command = upscale(&self.small, out);
        command
            .args([
                "--crf",
                "0",
                "--json",
                "--metrics",
                "psnr,ssim",
                "--measure",
            ])
            .arg(truth);
        command
    }
}

fn events(output: &Output) -> Vec<Value> {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect()
}

/// Runs it, expects an exit status, and gives the event with the measurement.
fn run(command: &mut Command, code: i32) -> (Value, String) {
    let output = command.output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    let found = events(&output)
        .into_iter()
        .find(|e| e["event"] == "measured")
        .unwrap_or_default();
    (found, said)
}

fn mean(event: &Value, candidate: usize, metric: &str) -> f64 {
    event["candidates"][candidate]["metrics"][metric]["mean"]
        .as_f64()
        .unwrap_or_else(|| panic!("{event}"))
}

/// Mean of the frames' luma PSNR as FFmpeg computes it.
fn ffmpeg_psnr_y(result: &Path, truth: &Path, trim: &str) -> f64 {
    let log = tempfile::NamedTempFile::new().unwrap();
    let graph = format!(
        "[0:v]settb=AVTB,setpts=N*1000[a];[1:v]{trim}settb=AVTB,setpts=N*1000[b];[a][b]psnr=stats_file={}",
        log.path().display()
    );
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .arg("-i")
        .arg(result)
        .arg("-i")
        .arg(truth)
        .args(["-lavfi", &graph, "-f", "null", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let values: Vec<f64> = std::fs::read_to_string(log.path())
        .unwrap()
        .lines()
        .map(|l| {
            let y = l.split("psnr_y:").nth(1).unwrap();
            y.split_whitespace().next().unwrap().parse().unwrap()
        })
        .collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_figures_are_those_of_ffmpeg() {
    let Some(pair) = Pair::new() else { return };
    let out = pair.path("out.mp4");
    let (event, said) = run(&mut pair.measured(&out, &pair.truth), 0);
    assert_eq!(event["candidates"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(event["candidates"][0]["frames"], FRAMES, "{event}");
    assert_eq!(event["candidates"][0]["faults"]["missing"], 0, "{event}");
    // Constant quality 0 of x264 loses nothing: the file holds what was measured.
    let wanted = ffmpeg_psnr_y(&out, &pair.truth, "");
    let found = mean(&event, 0, "psnr-y");
    assert!((found - wanted).abs() < 0.01, "{found} {wanted}");
    assert!(found > 28.0, "{found}");
    assert_eq!(frames(&out) as u64, FRAMES);
    only(pair.dir.path(), &["out.mp4", "small.mp4", "truth.mp4"]);

    // A person gets a table.
    let table = expect(
        upscale(&pair.small, &pair.path("t.mkv"))
            .args(["--metrics", "psnr", "--measure"])
            .arg(&pair.truth),
        0,
    );
    assert!(
        table.contains("PSNR Y dB  upscaled") && table.contains("harmonic"),
        "{table}"
    );
}

#[test]
fn both_are_cut_to_the_same_interval() {
    let Some(pair) = Pair::new() else { return };
    // With the seek (0.5 s before the beginning) and without one.
    for (start, first) in [("0.9", 27), ("0.3", 9)] {
        let out = pair.path("part.mkv");
        let (event, said) = run(
            pair.measured(&out, &pair.truth).args([
                "--force",
                "--start",
                start,
                "--duration",
                "0.4",
            ]),
            0,
        );
        let n = frames(&out) as u64;
        assert!((11..=13).contains(&n), "{n}");
        assert_eq!(event["candidates"][0]["frames"], n, "{said}");
        assert_eq!(event["candidates"][0]["faults"]["missing"], 0, "{said}");
        assert_eq!(event["candidates"][0]["faults"]["extra"], 0, "{said}");
        let trim = format!("trim=start_frame={first}:end_frame={},", first + n);
        let wanted = ffmpeg_psnr_y(&out, &pair.truth, &trim);
        let found = mean(&event, 0, "psnr-y");
        assert!((found - wanted).abs() < 0.01, "{start}: {found} {wanted}");
    }
}

#[test]
fn what_was_encoded_is_measured_if_asked_for() {
    let Some(pair) = Pair::new() else { return };
    for (to, cut) in [("mp4", &[][..]), ("ts", &["--start", "0.8"][..])] {
        let out = pair.path(&format!("coarse.{to}"));
        let (event, said) = run(
            upscale(&pair.small, &out)
                .args(cut)
                .args(["--crf", "40", "--json", "--measure-encoded"])
                .args(["--metrics", "psnr", "--measure"])
                .arg(&pair.truth),
            0,
        );
        assert_eq!(event["candidates"][1]["name"], "encoded", "{said}");
        assert_eq!(
            event["candidates"][1]["frames"], event["candidates"][0]["frames"],
            "{said}"
        );
        let (before, after) = (mean(&event, 0, "psnr-y"), mean(&event, 1, "psnr-y"));
        assert!(before > after + 1.0, "{to}: {before} {after}");
    }
}

#[test]
fn a_limit_that_is_not_kept_is_exit_4_and_the_file_is_there() {
    let Some(pair) = Pair::new() else { return };
    let out = pair.path("out.mp4");
    let (event, said) = run(
        pair.measured(&out, &pair.truth)
            .args(["--fail-under", "psnr-y=90,ssim=0.1"]),
        4,
    );
    assert_eq!(event["limits"][0]["kept"], false, "{said}");
    assert_eq!(event["limits"][1]["kept"], true, "{said}");
    assert_eq!(frames(&out) as u64, FRAMES);
}

#[test]
fn another_size_is_an_error_that_names_both() {
    let Some(pair) = Pair::new() else { return };
    let out = pair.path("out.mp4");
    let (_, said) = run(&mut pair.measured(&out, &pair.small), 2);
    assert!(
        said.contains("320x180") && said.contains("640x360"),
        "{said}"
    );
    // Such a size can be asked for.
    run(
        pair.measured(&out, &pair.small).args(["--size", "320x180"]),
        0,
    );
    std::fs::remove_file(&out).unwrap();
    for args in [
        &["--metrics", "nonsense"][..],
        &["--fail-under", "vmaf=3"],
        &["--compare", "split"],
    ] {
        run(pair.measured(&out, &pair.truth).args(args), 2);
    }
    expect(
        upscale(&pair.small, &out).args(["--fail-under", "vmaf=3"]),
        2,
    );
    expect(upscale(&pair.small, &out).arg("--measure-encoded"), 2);
    run(&mut pair.measured(&out, &pair.path("missing.mp4")), 1);
    only(pair.dir.path(), &["small.mp4", "truth.mp4"]);
}

#[test]
fn a_ground_truth_that_breaks_does_not_cost_the_result() {
    let Some(pair) = Pair::new() else { return };
    let whole = pair.path("whole.mp4");
    ffmpeg(&[
        "-i",
        pair.truth.to_str().unwrap(),
        "-c",
        "copy",
        "-movflags",
        "+faststart",
        whole.to_str().unwrap(),
    ]);
    let bytes = std::fs::read(&whole).unwrap();
    let cut = pair.path("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let out = pair.path("out.mp4");
    let (event, said) = run(&mut pair.measured(&out, &cut), 4);
    assert!(said.contains("ground-truth-broken"), "{said}");
    let n = event["candidates"][0]["frames"].as_u64().unwrap();
    assert!((10..40).contains(&n), "{said}");
    assert_eq!(frames(&out) as u64, FRAMES);

    // One that is merely shorter is measured as far as it goes.
    let short = pair.path("short.mp4");
    ffmpeg(&[
        "-i",
        pair.truth.to_str().unwrap(),
        "-frames:v",
        "30",
        "-c:v",
        "libx264",
        "-qp",
        "0",
        short.to_str().unwrap(),
    ]);
    let (event, said) = run(pair.measured(&out, &short).arg("--force"), 0);
    assert_eq!(event["candidates"][0]["frames"], 30, "{said}");
    assert_eq!(event["candidates"][0]["faults"]["extra"], 15, "{said}");
    assert!(said.contains("pairing"), "{said}");
}

#[test]
fn ten_bits_and_turned_pictures_are_measured_too() {
    let Some(pair) = Pair::new() else { return };
    let ten = pair.path("ten.mkv");
    ffmpeg(&[
        "-i",
        pair.truth.to_str().unwrap(),
        "-frames:v",
        "12",
        "-pix_fmt",
        "yuv420p10le",
        "-c:v",
        "libx265",
        "-x265-params",
        "lossless=1:log-level=none",
        ten.to_str().unwrap(),
    ]);
    let part = ["--force", "--duration", "0.3"];
    let out = pair.path("out.mp4");
    let (event, _) = run(pair.measured(&out, &pair.truth).args(part), 0);
    let eight = mean(&event, 0, "psnr-y");
    let (event, said) = run(pair.measured(&out, &ten).args(part), 0);
    let found = mean(&event, 0, "psnr-y");
    assert!((found - eight).abs() < 0.05, "{found} {eight} {said}");

    // A tag on one of them turns it before it is measured.
    let turned = pair.path("turned.mp4");
    let upright = pair.path("upright.mp4");
    ffmpeg(&[
        "-i",
        pair.small.to_str().unwrap(),
        "-c",
        "copy",
        "-metadata:s:v",
        "rotate=90",
        turned.to_str().unwrap(),
    ]);
    ffmpeg(&[
        "-i",
        pair.truth.to_str().unwrap(),
        "-vf",
        "transpose=cclock",
        "-c:v",
        "libx264",
        "-qp",
        "0",
        upright.to_str().unwrap(),
    ]);
    for to in ["mp4", "mkv"] {
        let out = pair.path(&format!("turned-out.{to}"));
        let mut command = upscale(&turned, &out);
        let (event, said) = run(
            command
                .args(part)
                .args(["--crf", "0", "--json", "--metrics", "psnr", "--measure"])
                .arg(&upright),
            0,
        );
        let found = mean(&event, 0, "psnr-y");
        assert!((found - eight).abs() < 0.3, "{to}: {found} {eight} {said}");
    }
}
