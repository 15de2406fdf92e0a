//! Interlaced and turned video, in `upscale` and in `compare`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A clip at 60 fps, woven to 30 interlaced frames a second, and the pictures of its first fields.
struct Woven {
    dir: tempfile::TempDir,
}

impl Woven {
    fn new() -> Option<Self> {
        let clip = clips()?.join("bbb_1080p60_anim.mp4");
        let dir = tempfile::tempdir().unwrap();
        let this = Self { dir };
        ffmpeg(&[
            "-ss",
            "3",
            "-i",
            clip.to_str().unwrap(),
            "-an",
            "-frames:v",
            "48",
            "-vf",
            "scale=480:270:flags=bicubic,crop=480:256",
            "-c:v",
            "libx264",
            "-qp",
            "0",
            "-preset",
            "ultrafast",
            this.path("p60.mp4").to_str().unwrap(),
        ]);
        this.make(
            "truth.mp4",
            "scale=960:512:flags=bicubic,select=not(mod(n\\,2)),setpts=N/30/TB",
            &["-r", "30", "-c:v", "libx264", "-qp", "0"],
        );
        this.make(
            "p30.mp4",
            "select=not(mod(n\\,2)),setpts=N/30/TB",
            &["-r", "30", "-c:v", "libx264", "-qp", "0"],
        );
        this.make(
            "tff.mp4",
            "tinterlace=interleave_top,setfield=tff",
            &[
                "-c:v",
                "libx264",
                "-qp",
                "4",
                "-flags",
                "+ildct+ilme",
                "-x264-params",
                "tff=1",
            ],
        );
        Some(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make(&self, name: &str, filter: &str, encoder: &[&str]) {
        let (from, to) = (self.path("p60.mp4"), self.path(name));
        let input = ["-i", from.to_str().unwrap(), "-vf", filter];
        ffmpeg(&[&input[..], encoder, &[to.to_str().unwrap()]].concat());
    }

    /// Upscales and measures against the progressive original; mean PSNR and everything said.
    fn upscaled(&self, name: &str, out: &Path, mode: &str) -> (f64, String) {
        let output = upscale(&self.path(name), out)
            .args([
                "--force",
                "--json",
                "--deinterlace",
                mode,
                "--metrics",
                "psnr",
            ])
            .args(["--pairing", "count", "--measure"])
            .arg(self.path("truth.mp4"))
            .output()
            .unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{name} {mode}: {said}");
        let event: Value = said
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .find(|e| e["event"] == "measured")
            .unwrap();
        let mean = &event["candidates"][0]["metrics"]["psnr-y"]["mean"];
        (mean.as_f64().unwrap(), said)
    }
}

fn field_order(path: &Path) -> String {
    let wanted = [
        "-select_streams",
        "v:0",
        "-show_entries",
        "stream=field_order",
    ];
    ffprobe(path, &wanted)[0].clone()
}

#[test]
fn each_interlaced_frame_becomes_one_picture() {
    let Some(woven) = Woven::new() else { return };
    woven.make(
        "bff10.mkv",
        "tinterlace=interleave_bottom,setfield=bff,format=yuv420p10le",
        &[
            "-c:v",
            "libx264",
            "-qp",
            "4",
            "-flags",
            "+ildct+ilme",
            "-x264-params",
            "bff=1",
        ],
    );
    woven.make(
        "mpeg2.ts",
        "tinterlace=interleave_top,setfield=tff",
        &["-c:v", "mpeg2video", "-q:v", "1", "-flags", "+ildct+ilme"],
    );
    for name in ["tff.mp4", "bff10.mkv", "mpeg2.ts"] {
        let source = woven.path(name);
        assert_ne!(field_order(&source), "progressive", "{name}");
        let out = woven.path("out.mp4");
        let (better, said) = woven.upscaled(name, &out, "auto");
        assert!(said.contains("\"interlaced\""), "{name}: {said}");
        assert_eq!(
            said.contains("depth-reduced"),
            name == "bff10.mkv",
            "{said}"
        );
        assert_eq!(field_order(&out), "progressive", "{name}");
        let (wanted, found) = (times(&source), times(&out));
        assert_eq!(found.len(), 24, "{name}");
        for (w, f) in wanted.iter().zip(&found) {
            assert!((w - wanted[0] - f).abs() < 0.0011, "{name}: {w} {f}");
        }
        let (woven_together, said) = woven.upscaled(name, &out, "off");
        assert!(said.contains("woven"), "{name}: {said}");
        assert_eq!(frames(&out), 24, "{name}");
        assert!(
            better > woven_together + 0.8,
            "{name}: {better} {woven_together}"
        );
    }
}

#[test]
fn parts_that_are_progressive_keep_the_number_of_frames() {
    let Some(woven) = Woven::new() else { return };
    woven.make(
        "a.ts",
        "tinterlace=interleave_top,setfield=tff",
        &["-c:v", "mpeg2video", "-q:v", "1", "-flags", "+ildct+ilme"],
    );
    woven.make(
        "b.ts",
        "select=not(mod(n\\,2)),setpts=N/30/TB,setfield=prog",
        &[
            "-r",
            "30",
            "-frames:v",
            "11",
            "-c:v",
            "mpeg2video",
            "-q:v",
            "1",
        ],
    );
    let list = woven.path("list.txt");
    std::fs::write(&list, "file a.ts\nfile b.ts\nfile a.ts\nfile b.ts\n").unwrap();
    for name in ["mixed.ts", "mixed.mkv"] {
        let source = woven.path(name);
        ffmpeg(&[
            "-f",
            "concat",
            "-i",
            list.to_str().unwrap(),
            "-c",
            "copy",
            source.to_str().unwrap(),
        ]);
        let out = woven.path("out.mp4");
        expect(upscale(&source, &out).arg("--force"), 0);
        assert_eq!(frames(&out), frames(&source), "{name}");
        let found = times(&out);
        for pair in found.windows(2) {
            let step = pair[1] - pair[0];
            assert!((0.03..0.037).contains(&step), "{name}: {pair:?}");
        }
    }
}

/// Compares two files; the last event and everything said.
fn compare(reference: &Path, candidate: &Path) -> (Value, String) {
    let output = Command::new(EXE)
        .arg("compare")
        .args([reference, candidate])
        .args(["--metrics", "psnr", "--json", "--report"])
        .arg(candidate.with_extension("html"))
        .arg("--force")
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let last = String::from_utf8(output.stdout).unwrap();
    (
        serde_json::from_str(last.lines().last().unwrap()).unwrap(),
        said,
    )
}

fn psnr(event: &Value) -> f64 {
    let mean = &event["candidates"][0]["metrics"]["psnr-y"]["mean"];
    mean.as_f64().unwrap_or_else(|| panic!("{event}"))
}

#[test]
fn compare_deinterlaces_only_what_has_no_counterpart() {
    let Some(woven) = Woven::new() else { return };
    let (event, said) = compare(&woven.path("p30.mp4"), &woven.path("tff.mp4"));
    assert!(said.contains("tff.mp4: deinterlaced"), "{said}");
    assert_eq!(event["candidates"][0]["frames"], 24, "{said}");
    let yadif = psnr(&event);
    assert!(yadif > 38.0, "{yadif}");
    // Both interlaced: the samples are compared as they are.
    woven.make(
        "worse.mp4",
        "tinterlace=interleave_top,setfield=tff",
        &[
            "-c:v",
            "libx264",
            "-crf",
            "30",
            "-flags",
            "+ildct+ilme",
            "-x264-params",
            "tff=1",
        ],
    );
    let (event, said) = compare(&woven.path("tff.mp4"), &woven.path("worse.mp4"));
    assert!(!said.contains("deinterlaced"), "{said}");
    assert_eq!(event["candidates"][0]["interlaced"], true);
    assert!(psnr(&event) > 25.0, "{said}");
}

#[test]
fn compare_turns_what_has_another_orientation() {
    let Some(woven) = Woven::new() else { return };
    let tagged = woven.path("tagged.mp4");
    ffmpeg(&[
        "-i",
        woven.path("p30.mp4").to_str().unwrap(),
        "-c",
        "copy",
        "-metadata:s:v",
        "rotate=90",
        tagged.to_str().unwrap(),
    ]);
    // FFmpeg turns the pixels as the tag says.
    let upright = woven.path("upright.mp4");
    ffmpeg(&[
        "-i",
        tagged.to_str().unwrap(),
        "-c:v",
        "libx264",
        "-qp",
        "0",
        upright.to_str().unwrap(),
    ]);
    assert_eq!(size(&upright), (256, 480));
    for (a, b) in [(&tagged, &upright), (&upright, &tagged)] {
        let (event, said) = compare(a, b);
        assert!(said.contains("tagged.mp4: turned upright"), "{said}");
        assert_eq!(event["candidates"][0]["identical"], 24, "{said}");
        assert_eq!(event["reference"]["width"], 256, "{said}");
    }
    // The same tag on both: nothing has to be done.
    let (event, said) = compare(&tagged, &tagged);
    assert!(!said.contains("turned"), "{said}");
    assert_eq!(event["candidates"][0]["identical"], 24);
}
