//! Running the built program on real clips, and looking at what it made with FFmpeg's tools.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod browser;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const EXE: &str = env!("CARGO_BIN_EXE_gst-neural");

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// The folder of clips, or `None` (with a line that says so).
pub fn clips() -> Option<PathBuf> {
    let data = std::env::var_os("GST_NEURAL_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let video = data.join("video");
    if video.is_dir() {
        return Some(video);
    }
    println!(
        "skipped: no clips in {} (GST_NEURAL_DATA names another folder)",
        video.display()
    );
    None
}

/// `gst-neural upscale` with the smallest net and the fastest preset.
pub fn upscale(input: &Path, output: &Path) -> Command {
    let mut command = Command::new(EXE);
    command
        .arg("upscale")
        .args([input, output])
        .args([
            "--model",
            "luma-x2-fast-clean",
            "--preset",
            "ultrafast",
            "--quiet",
        ])
        .arg("--model-dir")
        .arg(root().join("models"))
        .stdin(Stdio::null());
    command
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs it and expects an exit status.
pub fn expect(command: &mut Command, code: i32) -> String {
    let output = command.output().expect("the program starts");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    // av1enc of GStreamer 1.22 complains of a variable rate, once, and goes on.
    let complaints = said
        .lines()
        .filter(|l| l.contains("CRITICAL") && !l.contains("uint64_scale_int"))
        .count();
    assert_eq!(complaints, 0, "{said}");
    said
}

fn tool(command: &mut Command) -> String {
    let output = command.output().expect("ffmpeg and ffprobe are installed");
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn ffmpeg(args: &[&str]) {
    tool(
        Command::new("ffmpeg")
            .args(["-v", "error", "-y"])
            .args(args),
    );
}

/// Lines of `ffprobe -of csv=p=0`.
pub fn ffprobe(path: &Path, args: &[&str]) -> Vec<String> {
    tool(
        Command::new("ffprobe")
            .args(["-v", "error", "-of", "csv=p=0"])
            .args(args)
            .arg(path),
    )
    .lines()
    .map(|l| l.trim_end_matches(',').to_string())
    .filter(|l| !l.is_empty())
    .collect()
}

/// Presentation times of the first video stream's packets, in order.
pub fn times(path: &Path) -> Vec<f64> {
    let mut times: Vec<f64> = ffprobe(
        path,
        &["-select_streams", "v:0", "-show_entries", "packet=pts_time"],
    )
    .iter()
    .map(|l| l.split(',').next().unwrap().parse().unwrap())
    .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Frames that FFmpeg decodes.
pub fn frames(path: &Path) -> usize {
    ffprobe(
        path,
        &[
            "-count_frames",
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=nb_read_frames",
        ],
    )[0]
    .parse()
    .unwrap()
}

/// Hashes of the packets of an audio stream, in order.
pub fn packets(path: &Path, stream: &str) -> Vec<String> {
    let out = tool(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args([
                "-map",
                &format!("0:{stream}"),
                "-c",
                "copy",
                "-f",
                "framehash",
                "-hash",
                "md5",
                "-",
            ]),
    );
    out.lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| l.rsplit(',').next().unwrap().trim().to_string())
        .collect()
}

/// Range, matrix, transfer, primaries.
pub fn colour(path: &Path) -> Vec<String> {
    let line = &ffprobe(
        path,
        &[
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=color_range,color_space,color_transfer,color_primaries",
        ],
    )[0];
    line.split(',').map(str::to_string).collect()
}

pub fn size(path: &Path) -> (u32, u32) {
    let line = &ffprobe(
        path,
        &[
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=width,height",
        ],
    )[0];
    let mut n = line.split(',').map(|v| v.parse().unwrap());
    (n.next().unwrap(), n.next().unwrap())
}

/// Nothing of the job may be left in `folder` but `names`.
pub fn only(folder: &Path, names: &[&str]) {
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(found, names);
}
