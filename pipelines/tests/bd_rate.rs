//! `gst-neural compare --bd-rate` over real encodes of two codecs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::browser::*;
use common::*;
use gst_neural::bd_rate::{Curve, Method, difference};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A reference of 40 frames and four encodes of it by each of two codecs, from good to bad.
struct Encodes {
    dir: tempfile::TempDir,
}

const X264: [&str; 4] = ["20", "26", "32", "38"];
const VP9: [&str; 4] = ["24", "34", "44", "54"];

impl Encodes {
    fn new() -> Option<Self> {
        let clip = clips()?.join("stream_of_water_360p.mp4");
        let dir = tempfile::tempdir().unwrap();
        let path = |name: String| dir.path().join(name).to_str().unwrap().to_string();
        let reference = path("ref.mp4".into());
        let lossless = ["-an", "-frames:v", "40", "-c:v", "libx264", "-qp", "0"];
        let input = ["-i", clip.to_str().unwrap()];
        ffmpeg(&[&input[..], &lossless, &[&reference]].concat());
        for crf in X264 {
            let out = path(format!("x{crf}.mp4"));
            ffmpeg(&["-i", &reference, "-preset", "veryfast", "-crf", crf, &out]);
        }
        for crf in VP9 {
            let out = path(format!("v{crf}.webm"));
            let fast = ["-deadline", "realtime", "-cpu-used", "7", "-b:v", "0"];
            ffmpeg(&[&["-i", &reference], &fast[..], &["-crf", crf, &out]].concat());
        }
        Some(Self { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str], code: i32) -> String {
        let output = Command::new(EXE)
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{said}");
        String::from_utf8(output.stdout).unwrap() + &said
    }
}

/// Mean over the frames of FFmpeg's PSNR over all samples.
fn ffmpeg_psnr(file: &Path, reference: &Path) -> f64 {
    let log = tempfile::NamedTempFile::new().unwrap();
    let graph = format!(
        "[0:v]settb=AVTB,setpts=N*1000[a];[1:v]settb=AVTB,setpts=N*1000[b];[a][b]psnr=stats_file={}",
        log.path().display()
    );
    ffmpeg(&[
        "-i",
        file.to_str().unwrap(),
        "-i",
        reference.to_str().unwrap(),
        "-lavfi",
        &graph,
        "-f",
        "null",
        "-v",
        "fatal",
        "-",
    ]);
    let values: Vec<f64> = std::fs::read_to_string(log.path())
        .unwrap()
        .lines()
        .map(|l| {
            let value = l.split("psnr_avg:").nth(1).unwrap();
            value.split_whitespace().next().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(values.len(), 40);
    values.iter().sum::<f64>() / 40.0
}

#[test]
fn two_codecs_at_four_rates_each() {
    let Some(encodes) = Encodes::new() else {
        return;
    };
    // The order in which the files are named does not matter.
    let said = encodes.run(
        &[
            "compare",
            "ref.mp4",
            "--bd-rate",
            "x264:x32.mp4,x20.mp4,x38.mp4,x26.mp4",
            "vp9:v24.webm,v34.webm,v44.webm,v54.webm",
            "--metrics",
            "psnr,ssim",
            "--report",
            "r.html",
            "--csv",
            "p.csv",
            "--json",
            "--quiet",
        ],
        0,
    );
    let done: Value = said
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .find(|v| v["event"] == "done")
        .unwrap();
    assert_eq!(done["rate_unit"], "kbit/s");
    let mut curves = Vec::new();
    for series in done["series"].as_array().unwrap() {
        let points = series["points"].as_array().unwrap();
        assert_eq!(points.len(), 4, "{series}");
        let mut all = Vec::new();
        for point in points {
            // Each label is a file's name: its rate and its quality are what others find.
            let file = encodes.path(point["label"].as_str().unwrap());
            let bytes = std::fs::metadata(&file).unwrap().len();
            assert_eq!(point["bytes"], bytes);
            let stated = ffprobe(&file, &["-show_entries", "format=duration"])[0]
                .parse::<f64>()
                .unwrap();
            let rate = point["rate"].as_f64().unwrap();
            let wanted = bytes as f64 * 8.0 / stated / 1e3;
            assert!((rate / wanted - 1.0).abs() < 2e-3, "{rate} {wanted}");
            let psnr = point["psnr-avg"].as_f64().unwrap();
            let wanted = ffmpeg_psnr(&file, &encodes.path("ref.mp4"));
            assert!((psnr - wanted).abs() < 0.02, "{psnr} {wanted}");
            all.push((rate, point["psnr-y"].as_f64().unwrap()));
        }
        curves.push(Curve::new(all).unwrap());
    }
    let found = done["differences"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["metric"] == "psnr-y")
        .unwrap();
    assert_eq!(
        (&found["anchor"], &found["test"]),
        (&"x264".into(), &"vp9".into())
    );
    for (name, method) in [("pchip", Method::Pchip), ("akima", Method::Akima)] {
        let wanted = difference(&curves[0], &curves[1], method).unwrap();
        let rate = found[name]["rate_percent"].as_f64().unwrap();
        assert!(
            (rate - wanted.rate_percent).abs() < 1e-6,
            "{rate} {wanted:?}"
        );
        // VP9 for real time is worse than x264 here, by no small margin.
        assert!((5.0..200.0).contains(&rate), "{rate}");
    }
    if let Some(dom) = dom_in_chromium(&encodes.path("r.html")) {
        assert_drawn(&dom, 0);
        assert_eq!(lines_drawn(&dom), 4, "two curves of two metrics");
        assert_eq!(dom.matches("<circle class=\"mark\"").count(), 16);
    }
    // The points that were written give the same answer without the encodes.
    let again = encodes.run(&["compare", "--bd-rate", "p.csv", "--json"], 0);
    let again: Value = serde_json::from_str(again.lines().next().unwrap()).unwrap();
    let of_csv = again["differences"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["metric"] == "psnr-y")
        .unwrap();
    let close = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-3;
    assert!(
        close(
            &of_csv["pchip"]["rate_percent"],
            &found["pchip"]["rate_percent"]
        ),
        "{of_csv} {found}"
    );
}

#[test]
fn what_makes_a_curve_questionable_is_told() {
    let Some(encodes) = Encodes::new() else {
        return;
    };
    let compare = |second: &str, code: i32| {
        encodes.run(
            &[
                "compare",
                "ref.mp4",
                "--metrics",
                "psnr",
                "--report",
                "never.html",
                "--bd-rate",
                "x264:x20.mp4,x38.mp4",
                second,
            ],
            code,
        )
    };
    // A file that is missing or no video is named, and nothing is written.
    let said = compare("vp9:v24.webm,none.webm", 1);
    assert!(said.contains("none.webm: no such file"), "{said}");
    std::fs::write(encodes.path("text.webm"), "no video").unwrap();
    let said = compare("vp9:v24.webm,text.webm", 1);
    assert!(said.contains("text.webm"), "{said}");
    assert!(!encodes.path("never.html").exists());
    // One point is no curve: the points are told and written, and the exit code says it.
    let said = compare("vp9:v24.webm", 4);
    assert!(said.contains("no difference of vp9"), "{said}");
    std::fs::remove_file(encodes.path("never.html")).unwrap();
    // Sound counts as rate.
    let sound = encodes.path("sound.mkv");
    ffmpeg(&[
        "-i",
        encodes.path("x26.mp4").to_str().unwrap(),
        "-f",
        "lavfi",
        "-i",
        "sine=d=1.3",
        "-c:v",
        "copy",
        sound.to_str().unwrap(),
    ]);
    let said = compare("other:v54.webm,sound.mkv", 0);
    assert!(
        said.contains("sound.mkv: its rate counts its sound"),
        "{said}"
    );
}
