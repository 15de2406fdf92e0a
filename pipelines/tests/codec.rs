//! `encode` and `decode` on real clips: every sample, time and packet of sound comes back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// `gst-neural WORK IN OUT`.
fn program(work: &str, input: &Path, output: &Path) -> Command {
    let mut command = Command::new(EXE);
    command
        .arg(work)
        .args([input, output])
        .arg("--quiet")
        .stdin(Stdio::null());
    command
}

/// Hashes of the decoded frames of the first video stream, at most `n`.
fn pictures(path: &Path, n: usize) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-frames:v"])
        .arg(n.to_string())
        .args(["-f", "framehash", "-hash", "md5", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| l.rsplit(',').next().unwrap().trim().to_string())
        .collect()
}

/// The clips are short parts: coding without loss takes its time.
const CLIPS: &[(&str, &str)] = &[
    ("carphone_qcif.mp4", "1"),
    ("park_joy_480x270_10f.y4m", "1"),
    ("stream_of_water_360p.mp4", "0.5"),
    ("city_rooftop_360p.mp4", "0.5"),
    ("gopro_max_480p.mp4", "0.5"),
    ("tears_of_steel_800x332.webm", "0.5"),
    ("rooftop_1080p_hlg10.mp4", "0.1"),
];

#[test]
fn every_clip_comes_back_as_it_was() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    for (clip, part) in CLIPS {
        println!("{clip}");
        let source = clips.join(clip);
        let (coded, back) = (dir.path().join("coded.mkv"), dir.path().join("back.mkv"));
        expect(
            program("encode", &source, &coded).args(["--force", "--duration", part]),
            0,
        );
        // A program that is not ours sees the track for what it is.
        let stream = ffprobe(
            &coded,
            &[
                "-select_streams",
                "v:0",
                "-show_entries",
                "stream=codec_name,codec_tag_string",
            ],
        );
        assert_eq!(stream, ["unknown,GNVC"], "{clip}");
        assert_eq!(size(&coded), size(&source), "{clip}");

        let end: f64 = part.parse().unwrap();
        let source_times = times(&source);
        let first = source_times[0];
        let wanted: Vec<f64> = source_times
            .iter()
            .map(|t| t - first)
            .filter(|t| *t < end - 1e-6)
            .collect();
        let found = times(&coded);
        assert_eq!(found.len(), wanted.len(), "{clip}");
        for (a, b) in found.iter().zip(&wanted) {
            assert!((a - found[0] - b).abs() < 0.0016, "{clip}: {a} for {b}");
        }
        let keys = ffprobe(
            &coded,
            &["-select_streams", "v:0", "-show_entries", "packet=flags"],
        );
        assert!(keys[0].starts_with('K'), "{clip}: {keys:?}");

        expect(program("decode", &coded, &back).arg("--force"), 0);
        let n = wanted.len();
        assert_eq!(pictures(&back, n + 1), pictures(&source, n), "{clip}");
        assert_eq!(times(&back).len(), n, "{clip}: as many frames as went in");
        if !ffprobe(
            &source,
            &["-select_streams", "a", "-show_entries", "stream=index"],
        )
        .is_empty()
        {
            let sound = packets(&coded, "a:0");
            assert!(!sound.is_empty(), "{clip}");
            assert_eq!(packets(&back, "a:0"), sound, "{clip}");
            let whole = packets(&source, "a:0");
            assert!(
                whole.windows(sound.len()).any(|w| w == sound),
                "{clip}: the sound is copied"
            );
        }
    }
    only(dir.path(), &["back.mkv", "coded.mkv"]);
}

/// PSNR of luma in dB, mean of the frames, by our own measurement.
fn psnr(reference: &Path, coded: &Path) -> f64 {
    let mut command = Command::new(EXE);
    command
        .args(["compare", "--json", "--quiet", "--metrics", "psnr"])
        .args([reference, coded])
        .stdin(Stdio::null());
    let said = expect(&mut command, 0);
    let line = said.lines().find(|l| l.contains("\"done\"")).unwrap();
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    let candidate = &event["candidates"][0];
    assert_eq!(candidate["faults"]["missing"], 0, "{line}");
    candidate["metrics"]["psnr-y"]["mean"].as_f64().unwrap()
}

#[test]
fn with_loss_a_clip_keeps_its_frames_sound_and_looks() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("city_rooftop_360p.mp4");
    let exact = dir.path().join("exact.mkv");
    expect(
        program("encode", &source, &exact).args(["--duration", "1"]),
        0,
    );
    let mut last = (u64::MAX, f64::INFINITY);
    for quality in ["26", "16"] {
        let coded = dir.path().join(format!("q{quality}.mkv"));
        let part = ["--duration", "1", "--quality", quality, "--picture-crc"];
        expect(program("encode", &source, &coded).args(part), 0);
        assert_eq!(times(&coded), times(&exact));
        assert_eq!(packets(&coded, "a:0"), packets(&exact, "a:0"));
        let found = (
            std::fs::metadata(&coded).unwrap().len(),
            psnr(&exact, &coded),
        );
        assert!(
            found.0 < last.0 && found.1 < last.1 && found.1 > 30.0,
            "{found:?} after {last:?}"
        );
        last = found;
        // The same bits, however it is decoded (and every frame's CRC is right, else it would be told).
        let hashes = ["1", "3"].map(|threads| {
            let back = dir.path().join("back.mkv");
            expect(
                program("decode", &coded, &back).args(["--force", "--threads", threads]),
                0,
            );
            pictures(&back, 100)
        });
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(hashes[0].len(), times(&exact).len());
    }
}

#[test]
fn a_layer_can_be_left_out() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    let [plain, layered, back] =
        ["plain.mkv", "layered.mkv", "back.mkv"].map(|n| dir.path().join(n));
    let part = ["--duration", "0.5", "--quality", "20"];
    expect(program("encode", &source, &plain).args(part), 0);
    let with_layer = [&part[..], &["--layer", "lossless"]].concat();
    expect(program("encode", &source, &layered).args(with_layer), 0);
    let decoded = |from: &Path, more: &[&str]| {
        expect(program("decode", from, &back).arg("--force").args(more), 0);
        pictures(&back, 100)
    };
    let lossy = decoded(&plain, &[]);
    let original = pictures(&source, lossy.len());
    assert!(lossy.len() > 10 && lossy != original);
    assert_eq!(decoded(&layered, &["--layers", "base"]), lossy);
    assert_eq!(decoded(&layered, &["--layers", "all"]), original);
    assert_eq!(decoded(&layered, &[]), original);
    // Without a layer there is nothing to leave out.
    assert_eq!(decoded(&plain, &["--layers", "base"]), lossy);
    let wrong = ["--force", "--layers", "some"];
    expect(program("decode", &layered, &back).args(wrong), 2);
}

/// The network of `tests/data/invert-x1.onnx` is one convolution of 1x1: `1 - luma`.
#[test]
fn what_is_decoded_can_be_refined() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    let [coded, plain, refined, inverted] =
        ["coded.mkv", "plain.mkv", "refined.mkv", "inverted.mkv"].map(|n| dir.path().join(n));
    let part = ["--duration", "0.5", "--quality", "20"];
    expect(program("encode", &source, &coded).args(part), 0);
    expect(&mut program("decode", &coded, &plain), 0);
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/invert-x1.onnx");
    expect(
        program("decode", &coded, &refined)
            .arg("--refine")
            .arg(&network),
        0,
    );
    // FFmpeg inverts the luma of what was decoded without it: the same pictures, chroma included.
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&plain)
        .args(["-vf", "lutyuv=y=255-val", "-c:v", "ffv1"])
        .arg(&inverted)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let found = pictures(&refined, 100);
    assert_eq!(found, pictures(&inverted, 100));
    assert_eq!(found.len(), times(&coded).len());

    let larger = root().join("models/luma-x2-fast-clean.onnx");
    let out = dir.path().join("larger.mkv");
    let said = expect(
        program("decode", &coded, &out).arg("--refine").arg(larger),
        2,
    );
    assert!(said.contains("2 times as large"), "{said}");
}

#[test]
fn ten_seconds_take_the_bits_that_were_asked_for() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("city_rooftop_360p.mp4");
    for (rate, bps) in [("500k", 500_000.0), ("1500k", 1_500_000.0)] {
        let coded = dir.path().join("coded.mkv");
        let part = [
            "--force",
            "--duration",
            "10",
            "--bitrate",
            rate,
            "--keyint",
            "60",
        ];
        expect(program("encode", &source, &coded).args(part), 0);
        let sizes = ffprobe(
            &coded,
            &["-select_streams", "v:0", "-show_entries", "packet=size"],
        );
        let bytes: f64 = sizes
            .iter()
            .map(|s| s.trim_end_matches(',').parse::<f64>().unwrap())
            .sum();
        let seconds = sizes.len() as f64 / 30.01;
        let ratio = bytes * 8.0 / seconds / bps;
        println!("{rate}: {ratio:.3}");
        assert!((0.95..=1.05).contains(&ratio), "{rate}: {ratio}");
    }
}

#[test]
fn a_new_scene_begins_with_a_keyframe() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let both = dir.path().join("both.mkv");
    // Twenty frames of one clip, then twenty of another.
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(clips.join("flower_540p.mp4"))
        .arg("-i")
        .arg(clips.join("stream_of_water_360p.mp4"))
        .args(["-filter_complex"])
        .arg(
            "[0:v]trim=end_frame=20,settb=1/25,setpts=N,scale=320:180,setsar=1[a];\
             [1:v]trim=end_frame=20,settb=1/25,setpts=N,scale=320:180,setsar=1[b];[a][b]concat",
        )
        .args(["-c:v", "ffv1"])
        .arg(&both)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let coded = dir.path().join("coded.mkv");
    expect(
        program("encode", &both, &coded).args(["--quality", "20", "--keyint", "1000"]),
        0,
    );
    let flags = ffprobe(
        &coded,
        &["-select_streams", "v:0", "-show_entries", "packet=flags"],
    );
    let keys: Vec<usize> = (0..flags.len())
        .filter(|&i| flags[i].starts_with('K'))
        .collect();
    assert_eq!(keys, [0, 20]);
}

#[test]
fn a_part_of_a_coded_file_begins_at_its_frame() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    let (coded, back) = (dir.path().join("coded.mkv"), dir.path().join("back.mkv"));
    expect(
        program("encode", &source, &coded).args(["--keyint", "20"]),
        0,
    );
    let at = times(&coded);
    let start = (at[47] + at[48]) / 2.0;
    expect(
        program("decode", &coded, &back).args(["--start", &start.to_string(), "--duration", "0.5"]),
        0,
    );
    let all = pictures(&source, 80);
    let part = pictures(&back, 10);
    assert_eq!(part[..], all[48..58]);
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    let mp4 = dir.path().join("out.mp4");
    let said = expect(&mut program("encode", &source, &mp4), 2);
    assert!(said.contains(".mkv alone"), "{said}");
    let mkv = dir.path().join("out.mkv");
    let said = expect(
        program("encode", &source, &mkv).args(["--profile", "inter", "--near", "2"]),
        1,
    );
    assert!(said.contains("near=2"), "{said}");
    let said = expect(
        program("encode", &source, &mkv).args(["--model", "/nowhere/x.gnm"]),
        1,
    );
    assert!(said.contains("/nowhere/x.gnm"), "{said}");
    expect(program("encode", &source, &mkv).args(["--near", "16"]), 2);
    only(dir.path(), &[]);
    std::fs::write(&mkv, "mine").unwrap();
    let said = expect(&mut program("encode", &source, &mkv), 1);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(&mkv).unwrap(), b"mine");
}

#[test]
fn damage_in_a_file_is_told_and_costs_no_frame() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    let (coded, back) = (dir.path().join("coded.mkv"), dir.path().join("back.mkv"));
    expect(
        program("encode", &source, &coded).args(["--keyint", "10", "--duration", "1"]),
        0,
    );
    let n = times(&coded).len();
    let mut bytes = std::fs::read(&coded).unwrap();
    // In the middle of a packet of video: its last bytes are those of a slice.
    let packet = ffprobe(
        &coded,
        &["-select_streams", "v:0", "-show_entries", "packet=pos,size"],
    );
    let (length, at) = packet[14].split_once(',').unwrap();
    let (at, length): (usize, usize) = (at.parse().unwrap(), length.parse().unwrap());
    bytes[at + length - 20] ^= 0x55;
    std::fs::write(&coded, bytes).unwrap();
    let said = expect(program("decode", &coded, &back).arg("--json"), 3);
    assert!(said.contains("damaged-frames"), "{said}");
    assert!(
        said.contains(&format!("6 of {n} frames are damaged")),
        "{said}"
    );
    let (found, wanted) = (pictures(&back, n + 1), pictures(&source, n));
    assert_eq!(found.len(), n);
    assert_eq!(found[..14], wanted[..14]);
    assert_eq!(found[20..], wanted[20..]);
}

#[test]
fn ctrl_c_finishes_the_file() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.mkv");
    let mut child = Command::new(EXE)
        .arg("encode")
        .args([&clips.join("gopro_max_480p.mp4"), &out])
        .args(["--json", "--threads", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|l| l.contains("\"progress\"")),
        "it makes progress"
    );
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        !out.exists(),
        "nothing under the name before it is complete"
    );
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130), "{said:?}");
    let n = times(&out).len();
    assert!(n > 1 && n < 315, "{n} frames");
    only(dir.path(), &["out.mkv"]);
    let back = dir.path().join("back.mkv");
    expect(&mut program("decode", &out, &back), 0);
    assert_eq!(frames(&back), n);
}
