//! Bad input, bad output, and being stopped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn outputs_are_not_overwritten_unasked() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    let out = dir.path().join("out.mp4");
    std::fs::write(&out, "precious").unwrap();
    let said = expect(upscale(&source, &out).args(["--duration", "0.1"]), 1);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    expect(
        upscale(&source, &out).args(["--duration", "0.1", "--force"]),
        0,
    );
    assert_eq!(size(&out), (352, 288));

    let copy = dir.path().join("in.mp4");
    std::fs::copy(&source, &copy).unwrap();
    expect(upscale(&copy, &copy).arg("--force"), 2);
    assert_eq!(
        std::fs::read(&copy).unwrap(),
        std::fs::read(&source).unwrap()
    );
    only(dir.path(), &["in.mp4", "out.mp4"]);
}

#[test]
fn bad_inputs_leave_nothing() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read(clips.join("carphone_qcif.mp4")).unwrap();
    let make = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let noise: Vec<u8> = (0..200_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let sound = dir.path().join("sound.m4a");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "sine=d=1",
        "-c:a",
        "aac",
        sound.to_str().unwrap(),
    ]);
    let out = dir.path().join("out.mp4");
    let before: Vec<_> = [
        make("empty.mp4", b""),
        make("noise.mp4", &noise),
        make("text.mp4", b"this is not a video\n"),
        make("header.mp4", &good[..40]),
        make("short.mp4", &good[..good.len() / 4]),
        dir.path().join("none.mp4"),
        dir.path().to_path_buf(),
        sound,
    ]
    .into();
    for input in before {
        let started = Instant::now();
        let output = upscale(&input, &out).output().unwrap();
        let said = text(&output);
        let errors = said
            .lines()
            .filter(|l| l.starts_with("gst-neural:"))
            .count();
        if input.ends_with("short.mp4") && output.status.code() == Some(3) {
            // Its index is at the front: what is there can be kept.
            std::fs::remove_file(&out).unwrap();
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{}: {said}", input.display());
        assert_eq!(errors, 1, "{}: {said}", input.display());
        assert!(!said.contains("panicked"), "{said}");
        assert!(!out.exists());
        assert!(started.elapsed() < Duration::from_secs(40));
    }
    assert!(
        std::fs::read_dir(dir.path()).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("part"))
    );
}

#[test]
fn a_clip_that_breaks_is_kept_up_to_there() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    for (name, args) in [
        ("cut.ts", &["-c", "copy"][..]),
        ("cut.mkv", &["-c", "copy"]),
        ("cut.mp4", &["-c", "copy", "-movflags", "+faststart"]),
    ] {
        let broken = dir.path().join(name);
        let mut all = vec!["-i", source.to_str().unwrap()];
        all.extend_from_slice(args);
        all.push(broken.to_str().unwrap());
        ffmpeg(&all);
        let bytes = std::fs::read(&broken).unwrap();
        std::fs::write(&broken, &bytes[..bytes.len() * 6 / 10]).unwrap();
        let out = dir.path().join("kept.mp4");
        let output = upscale(&broken, &out).arg("--force").output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{name}: {said}");
        assert!(said.contains("the input breaks at"), "{name}: {said}");
        let n = frames(&out);
        assert!((40..118).contains(&n), "{name}: {n} frames kept\n{said}");
    }
}

#[test]
fn a_transport_stream_cut_between_packets_is_noticed() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.ts");
    ffmpeg(&[
        "-i",
        clips.join("stream_of_water_360p.mp4").to_str().unwrap(),
        "-t",
        "1.5",
        "-c",
        "copy",
        whole.to_str().unwrap(),
    ]);
    let out = dir.path().join("out.mp4");
    let said = expect(upscale(&whole, &out).arg("--force"), 0);
    assert!(!said.contains("cut off"), "{said}");
    let bytes = std::fs::read(&whole).unwrap();
    let mut noticed = 0;
    for part in [50, 63, 76, 89] {
        let cut = dir.path().join("cut.ts");
        std::fs::write(&cut, &bytes[..bytes.len() * part / 100 / 188 * 188]).unwrap();
        let output = upscale(&cut, &out).arg("--force").output().unwrap();
        let said = text(&output);
        // Within sound it is certain; within a picture, which has no stated length, it is likely.
        let likely = said.contains("it may have been cut off");
        assert_eq!(
            output.status.code(),
            Some(if likely { 0 } else { 3 }),
            "{said}"
        );
        noticed += usize::from(likely || said.contains("ends in the middle of a packet"));
        // A part of it that was asked for and is there is complete.
        let said = expect(
            upscale(&cut, &out).args(["--force", "--duration", "0.4"]),
            0,
        );
        assert!(!said.contains("cut off"), "{said}");
    }
    assert_eq!(noticed, 4);
}

#[test]
fn bad_outputs_are_one_message() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    let said = expect(
        &mut upscale(&source, &dir.path().join("no/where/out.mp4")),
        1,
    );
    assert!(said.contains("does not exist"), "{said}");
    expect(&mut upscale(&source, &dir.path().join("out.avi")), 2);
    expect(
        upscale(&source, &dir.path().join("out.mp4")).args(["--crf", "99"]),
        2,
    );
    expect(
        upscale(&source, &dir.path().join("out.mp4")).args(["--preset", "warp"]),
        2,
    );
    expect(
        upscale(&source, &dir.path().join("out.mp4")).args(["--start", "100"]),
        2,
    );
    expect(
        std::process::Command::new(EXE)
            .args(["upscale", "--model", "no-such-model"])
            .arg(&source)
            .arg(dir.path().join("out.mp4")),
        1,
    );
    expect(
        upscale(&source, &dir.path().join("out.mp4")).args(["--mode", "purple"]),
        2,
    );
    only(dir.path(), &[]);
}

#[test]
fn a_full_disk_is_one_message() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    // GStreamer's registry is larger than the limit below: it has to be written before.
    expect(&mut upscale(&source, &dir.path().join("whole.mp4")), 0);
    std::fs::remove_file(dir.path().join("whole.mp4")).unwrap();
    for to in ["mp4", "mkv", "ts"] {
        let out = dir.path().join(format!("out.{to}"));
        let inner = upscale(&source, &out);
        // A limit on the size of files, in blocks of 1024 bytes, stands for the end of the disk.
        let mut command = std::process::Command::new("bash");
        command.args(["-c", "ulimit -f 100; exec \"$@\"", "bash"]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (key, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        let said = expect(&mut command, 1);
        assert!(said.contains("disk is full"), "{to}: {said}");
        only(dir.path(), &[]);
    }
}

fn interrupt(source: &Path, out: &Path, times: u32) -> (Option<i32>, String) {
    let mut child = upscale(source, out)
        .args(["--json", "--encoder", "x264"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first progress line says that frames are through.
    let stdout = child.stdout.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    let seen = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|l| l.contains("\"progress\""));
    assert!(seen, "it makes progress");
    std::thread::sleep(Duration::from_millis(600));
    for nth in 0..times {
        if nth > 0 {
            // The first has been understood; two at once could count as one.
            assert!(
                lines
                    .by_ref()
                    .map_while(Result::ok)
                    .any(|l| l.contains("stopping"))
            );
        }
        let killed = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }
    let rest: String = lines.map_while(Result::ok).collect::<Vec<_>>().join("\n");
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        rest + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn ctrl_c_closes_the_file() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    for to in ["mp4", "mkv"] {
        let out = dir.path().join(format!("out.{to}"));
        let (code, said) = interrupt(&clips.join("gopro_max_480p.mp4"), &out, 1);
        assert_eq!(code, Some(130), "{said}");
        let n = frames(&out);
        assert!(n > 1 && n < 315, "{n} frames");
        let end = |stream: &str| -> f64 {
            ffprobe(
                &out,
                &[
                    "-select_streams",
                    stream,
                    "-show_entries",
                    "packet=pts_time",
                ],
            )
            .iter()
            .map(|l| l.split(',').next().unwrap().parse::<f64>().unwrap())
            .fold(0.0, f64::max)
        };
        assert!(
            (end("v:0") - end("a:0")).abs() < 0.4,
            "sound and picture end together: {} {}",
            end("v:0"),
            end("a:0")
        );
        only(dir.path(), &[out.file_name().unwrap().to_str().unwrap()]);
        std::fs::remove_file(&out).unwrap();
    }
}

#[test]
fn two_ctrl_c_throw_it_away() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.mkv");
    let (code, said) = interrupt(&clips.join("rooftop_1080p_hlg10.mp4"), &out, 2);
    assert_eq!(code, Some(130), "{said}");
    only(dir.path(), &[]);
}

#[test]
fn json_is_json() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.webm");
    let output = upscale(&clips.join("stream_of_water_360p.mp4"), &out)
        .args(["--json", "--duration", "0.3"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let events: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(names[0], "start");
    assert_eq!(*names.last().unwrap(), "done");
    assert!(events.iter().any(|e| e["code"] == "audio-reencoded"));
    let done = events.last().unwrap();
    assert_eq!(done["frames_in"], done["frames_out"]);
    assert_eq!(done["status"], "complete");

    let output = upscale(Path::new("/no/such.mp4"), &dir.path().join("x.mp4"))
        .arg("--json")
        .output()
        .unwrap();
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["event"], "error");
    assert_eq!(error["exit"], 1);
}
