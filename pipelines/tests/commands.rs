//! The commands beside `upscale`, and ways to name input and size, on the clips of examples/media.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{EXE, expect, ffprobe, frames, root, upscale};
use std::path::{Path, PathBuf};
use std::process::Command;

fn clip() -> PathBuf {
    root().join("examples/media/water_360p.mp4")
}

fn size(path: &Path) -> String {
    ffprobe(
        path,
        &[
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=width,height",
        ],
    )
    .remove(0)
}

#[test]
fn models_are_listed_described_and_verified() {
    let models = root().join("models");
    let run = |args: &[&str]| {
        let mut command = Command::new(EXE);
        command
            .arg("models")
            .args(args)
            .arg("--model-dir")
            .arg(&models);
        expect(&mut command, 0)
    };
    let list = run(&["list"]);
    for name in ["luma-x2-compressed", "luma-x2-fast-clean", "luma-x4"] {
        assert!(list.contains(name), "{list}");
    }
    assert!(list.contains("also luma-x2)"), "the alias: {list}");
    let info = run(&["info", "luma-x2-fast"]);
    assert!(info.contains("luma-x2-fast-compressed"), "{info}");
    assert!(info.contains("CC0-1.0"), "{info}");
    run(&["verify"]);
    let mut unknown = Command::new(EXE);
    unknown.args(["models", "info", "nonsense"]);
    assert!(expect(&mut unknown, 1).contains("nonsense"));
}

#[test]
fn the_doctor_finds_this_machine_usable() {
    let said = expect(Command::new(EXE).arg("doctor"), 0);
    assert!(
        said.contains("ONNX Runtime") && said.contains("x264"),
        "{said}"
    );
}

#[test]
fn the_doctor_names_what_is_missing() {
    let mut command = Command::new(EXE);
    command
        .arg("doctor")
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    let output = command.output().unwrap();
    let said = common::text(&output);
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("setup.sh"),
        "the command that mends it: {said}"
    );
}

#[test]
fn a_uri_is_an_input_and_a_scale_chooses_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.mp4");
    let uri = format!("file://{}", clip().display());
    let mut command = Command::new(EXE);
    command
        .args(["upscale", &uri])
        .arg(&out)
        .args([
            "--scale",
            "4",
            "--duration",
            "0.2",
            "--preset",
            "ultrafast",
            "--quiet",
        ])
        .arg("--model-dir")
        .arg(root().join("models"));
    expect(&mut command, 0);
    assert_eq!(size(&out), "1920,1440");
    assert!((5..=7).contains(&frames(&out)), "{}", frames(&out));
}

#[test]
fn an_exact_size_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.mkv");
    let mut command = upscale(&clip(), &out);
    expect(command.args(["--size", "854x480", "--duration", "0.2"]), 0);
    assert_eq!(size(&out), "854,480");
}

#[test]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"])
        .arg(dir.path())
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        println!("skipped: a small file system cannot be mounted here (not root?)");
        return;
    }
    let out = dir.path().join("out.mp4");
    let output = upscale(&clip(), &out).output();
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    let unmounted = Command::new("umount").arg(dir.path()).status();
    let output = output.unwrap();
    let said = common::text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.to_lowercase().contains("space"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(left.is_empty(), "{left:?}");
    assert!(unmounted.unwrap().success());
}
