//! Every clip goes through the program, and FFmpeg finds in the output what was in the input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::path::{Path, PathBuf};

struct Case {
    clip: &'static str,
    to: &'static str,
    /// Seconds, for the long and large ones.
    part: Option<f64>,
}

const fn case(clip: &'static str, to: &'static str, part: Option<f64>) -> Case {
    Case { clip, to, part }
}

const CASES: &[Case] = &[
    case("carphone_qcif.mp4", "mp4", None),
    case("carphone_qcif.mp4", "mov", None),
    case("carphone_qcif.mp4", "mkv", None),
    case("carphone_qcif.mp4", "ts", None),
    case("park_joy_480x270_10f.y4m", "mp4", None),
    case("park_joy_480x270_10f.y4m", "mkv", None),
    case("stream_of_water_360p.mp4", "mp4", None),
    case("city_rooftop_360p.mp4", "mp4", Some(3.0)),
    case("flower_540p.mp4", "mov", Some(2.0)),
    case("highway_540p.mp4", "mkv", Some(2.0)),
    case("gopro_max_480p.mp4", "mp4", Some(3.0)),
    case("gopro_max_480p.mp4", "ts", Some(1.0)),
    case("tears_of_steel_800x332.webm", "mkv", Some(2.0)),
    case("tears_of_steel_800x332.webm", "mp4", Some(2.0)),
    case("bbb_1080p60_anim.mp4", "mp4", Some(0.25)),
    case("graffiti_1080p60.mp4", "mkv", Some(0.25)),
    case("rooftop_1080p_hlg10.mp4", "mp4", Some(0.4)),
];

/// The part of `all` that lies before `end`, moved to begin at the first.
fn until(all: &[f64], end: Option<f64>) -> Vec<f64> {
    let end = end.unwrap_or(f64::MAX);
    all.iter().copied().filter(|t| *t < end - 1e-6).collect()
}

/// What a source that does not say its colours is taken to be.
fn expected_colour(source: &Path) -> Vec<String> {
    let (_, height) = size(source);
    let assumed = if height <= 576 { "smpte170m" } else { "bt709" };
    let mut colour = colour(source);
    for (i, c) in colour.iter_mut().enumerate() {
        if c == "unknown" {
            *c = if i == 0 { "tv".into() } else { assumed.into() };
        }
    }
    colour
}

#[test]
fn every_clip_keeps_frames_times_sound_and_colour() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    for case in CASES {
        let what = format!("{} -> {}", case.clip, case.to);
        println!("{what}");
        let source = clips.join(case.clip);
        let out = dir.path().join(format!("out.{}", case.to));
        let mut command = upscale(&source, &out);
        command.arg("--force");
        if let Some(part) = case.part {
            command.args(["--duration", &part.to_string()]);
        }
        expect(&mut command, 0);

        let tick = match case.to {
            "mkv" | "webm" => 0.001,
            _ => 1.0 / 90_000.0,
        };
        check_times(&source, &out, case.part, tick, &what);
        let (w, h) = size(&source);
        assert_eq!(size(&out), (2 * w, 2 * h), "{what}");
        assert_eq!(colour(&out), expected_colour(&source), "{what}");
        check_sound(&source, &out, case.part.is_some(), &what);
        let aspect = |p: &Path| {
            ffprobe(
                p,
                &[
                    "-select_streams",
                    "v:0",
                    "-show_entries",
                    "stream=sample_aspect_ratio",
                ],
            )
            .first()
            .map_or("1:1".to_string(), |a| {
                if a == "N/A" { "1:1".into() } else { a.clone() }
            })
        };
        // Matroska keeps the size of the display in whole pixels.
        if case.to != "mkv" {
            assert_eq!(aspect(&out), aspect(&source), "{what}");
        }
        let depth = |p: &Path| {
            ffprobe(
                p,
                &["-select_streams", "v:0", "-show_entries", "stream=pix_fmt"],
            )[0]
            .clone()
        };
        assert_eq!(depth(&out), depth(&source), "{what}");
    }
    assert!(
        std::fs::read_dir(dir.path()).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("part"))
    );
}

fn check_times(source: &Path, out: &Path, part: Option<f64>, tick: f64, what: &str) {
    let expected = until(&times(source), part);
    let mut found = times(out);
    // MPEG-TS begins at an hour, not at zero.
    if out.extension().is_some_and(|e| e == "ts") {
        let first = found[0] - expected[0];
        found.iter_mut().for_each(|t| *t -= first);
    }
    assert_eq!(found.len(), expected.len(), "{what}: number of frames");
    assert_eq!(frames(out), expected.len(), "{what}: frames that decode");
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (f - e).abs() <= tick + 1e-6,
            "{what}: frame {i} is at {f}, was at {e}"
        );
    }
}

fn check_sound(source: &Path, out: &Path, cut: bool, what: &str) {
    // A transport stream's are listed twice, by themselves and in their programme.
    let count = |p: &Path| {
        ffprobe(
            p,
            &["-select_streams", "a", "-show_entries", "stream=index"],
        )
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
    };
    let tracks = count(source);
    assert_eq!(count(out), tracks, "{what}: audio tracks");
    if out.extension().is_some_and(|e| e == "ts") {
        return; // ADTS headers are part of the packets there.
    }
    let codec = |p: &Path| {
        ffprobe(
            p,
            &[
                "-select_streams",
                "a:0",
                "-show_entries",
                "stream=codec_name",
            ],
        )
        .concat()
    };
    if tracks == 0 || codec(source) != codec(out) {
        return;
    }
    let (a, b) = (packets(source, "a:0"), packets(out, "a:0"));
    assert!(!b.is_empty(), "{what}");
    let from = a
        .iter()
        .position(|h| *h == b[0])
        .unwrap_or_else(|| panic!("{what}: the first packet is not the source's"));
    // In Matroska and MPEG-TS there is no place for the packet before the beginning.
    assert!(
        from <= if out.extension().is_some_and(|e| e == "mkv") {
            2
        } else {
            0
        },
        "{what}: begins at packet {from}"
    );
    assert!(a[from..].starts_with(&b), "{what}: packets differ");
    if !cut {
        // What lies behind the end that the edit list sets is not shown by a player, and not copied.
        assert!(
            a.len() - from - b.len() <= 2,
            "{what}: {} of {} packets",
            b.len(),
            a.len()
        );
    }
}

fn variable(clips: &Path, dir: &Path) -> PathBuf {
    let out = dir.join("vfr.mp4");
    ffmpeg(&[
        "-i",
        clips.join("carphone_qcif.mp4").to_str().unwrap(),
        "-vf",
        "setpts='(N+floor(N/3)*0.5+mod(N*7,5)*0.1)/30/TB'",
        "-fps_mode",
        "vfr",
        "-enc_time_base",
        "1/90000",
        "-video_track_timescale",
        "90000",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        out.to_str().unwrap(),
    ]);
    out
}

#[test]
fn a_variable_frame_rate_stays() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = variable(&clips, dir.path());
    let gaps: std::collections::BTreeSet<i64> = times(&source)
        .windows(2)
        .map(|w| ((w[1] - w[0]) * 1e5) as i64)
        .collect();
    assert!(gaps.len() > 3, "the clip has a variable rate");
    for (to, preset, tick) in [
        ("mp4", "ultrafast", 1e-6),
        ("mp4", "medium", 1e-6),
        ("mov", "medium", 1e-6),
        ("mkv", "medium", 0.001),
        ("ts", "medium", 1.0 / 90_000.0),
        ("webm", "ultrafast", 0.001),
    ] {
        let out = dir.path().join(format!("{preset}.{to}"));
        expect(
            upscale(&source, &out).args(["--encoder", if to == "webm" { "vp9" } else { "x264" }]),
            0,
        );
        check_times(&source, &out, None, tick, &format!("vfr {to} {preset}"));
    }
}

#[test]
fn every_encoder_in_every_container_keeps_every_frame() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = variable(&clips, dir.path());
    for (encoder, containers) in [
        ("x264", &["mp4", "mov", "mkv", "ts"][..]),
        ("x265", &["mp4", "mov", "mkv", "ts"]),
        ("av1", &["mp4", "mkv", "webm"]),
        ("vp9", &["mp4", "mkv", "webm"]),
    ] {
        for to in containers {
            for rate in [["--crf", "30"], ["--bitrate", "3M"]] {
                let what = format!("{encoder} {to} {rate:?}");
                println!("{what}");
                let out = dir.path().join(format!("{encoder}{}.{to}", rate[0]));
                expect(
                    upscale(&source, &out).args(rate).args([
                        "--encoder",
                        encoder,
                        "--duration",
                        "1.5",
                    ]),
                    0,
                );
                let tick = if *to == "mkv" || *to == "webm" {
                    0.001
                } else {
                    2.0 / 90_000.0
                };
                check_times(&source, &out, Some(1.5), tick, &what);
            }
        }
    }
    let said = expect(
        upscale(&source, &dir.path().join("no.webm")).args(["--encoder", "x264"]),
        2,
    );
    assert!(said.contains("--encoder"), "{said}");
}

#[test]
fn orientation_stays_or_is_done() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let rotation = |p: &Path| {
        ffprobe(
            p,
            &[
                "-select_streams",
                "v:0",
                "-show_entries",
                "stream_side_data=rotation",
            ],
        )
        .first()
        .cloned()
        .unwrap_or_default()
    };
    for degrees in ["90", "180", "270"] {
        let source = dir.path().join(format!("turned{degrees}.mp4"));
        ffmpeg(&[
            "-i",
            clips.join("carphone_qcif.mp4").to_str().unwrap(),
            "-c",
            "copy",
            "-metadata:s:v",
            &format!("rotate={degrees}"),
            source.to_str().unwrap(),
        ]);
        assert!(!rotation(&source).is_empty());
        for to in ["mp4", "mov"] {
            let out = dir.path().join(format!("{degrees}.{to}"));
            expect(upscale(&source, &out).args(["--duration", "0.5"]), 0);
            assert_eq!(rotation(&out), rotation(&source), "{to}");
            assert_eq!(size(&out), (352, 288));
        }
        let out = dir.path().join(format!("{degrees}.mkv"));
        let said = expect(
            upscale(&source, &out).args(["--duration", "0.5", "--crf", "1"]),
            0,
        );
        assert!(said.contains("turned"), "{said}");
        assert_eq!(rotation(&out), "");
        assert_eq!(
            size(&out),
            if degrees == "180" {
                (352, 288)
            } else {
                (288, 352)
            }
        );
        // FFmpeg turns the source by its tag; the picture must be the same one.
        let psnr = std::process::Command::new("ffmpeg")
            .arg("-i")
            .arg(&source)
            .arg("-i")
            .arg(&out)
            .args(["-lavfi", "[0:v]trim=end_frame=1,scale=iw*2:ih*2,setsar=1[a];[1:v]trim=end_frame=1,setsar=1[b];[a][b]psnr", "-f", "null", "-"])
            .output()
            .unwrap();
        let said = text(&psnr);
        let y: f64 = said
            .split("PSNR y:")
            .nth(1)
            .and_then(|s| s.split_whitespace().next())
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| panic!("{said}"));
        assert!(y > 28.0, "{degrees}: {y} dB");
    }
}

#[test]
fn tracks_languages_and_subtitles() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let srt = dir.path().join("s.srt");
    std::fs::write(&srt, "1\n00:00:00,500 --> 00:00:01,500\nHello & <i>you</i>\n\n2\n00:00:02,000 --> 00:00:03,000\nWorld\n").unwrap();
    let many = |name: &str, codecs: [&str; 3]| {
        let out = dir.path().join(name);
        ffmpeg(&[
            "-i",
            clips.join("carphone_qcif.mp4").to_str().unwrap(),
            "-f",
            "lavfi",
            "-i",
            "sine=440:d=4",
            "-f",
            "lavfi",
            "-i",
            "sine=880:d=4",
            "-i",
            srt.to_str().unwrap(),
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-map",
            "2:a",
            "-map",
            "3:s",
            "-c:v",
            "copy",
            "-c:a:0",
            codecs[0],
            "-c:a:1",
            codecs[1],
            "-c:s",
            codecs[2],
            "-metadata:s:a:0",
            "language=eng",
            "-metadata:s:a:1",
            "language=fre",
            out.to_str().unwrap(),
        ]);
        out
    };
    let mp4 = many("many.mp4", ["aac", "ac3", "mov_text"]);
    let mkv = many("many.mkv", ["aac", "flac", "srt"]);
    let codecs = |p: &Path| ffprobe(p, &["-show_entries", "stream=codec_name"]).join(" ");
    for (source, to, expected, says) in [
        (&mp4, "mp4", "h264 aac ac3 mov_text", ""),
        (&mp4, "mkv", "h264 aac ac3 subrip", ""),
        (&mp4, "ts", "h264 aac ac3", "subtitle track 1"),
        (&mp4, "webm", "vp9 opus opus", "encoded again, to opus"),
        (&mkv, "mkv", "h264 aac flac subrip", ""),
        (
            &mkv,
            "mp4",
            "h264 aac aac mov_text",
            "encoded again, to aac",
        ),
    ] {
        let what = format!("{} -> {to}", source.display());
        println!("{what}");
        let out = dir.path().join(format!("out.{to}"));
        let said = expect(upscale(source, &out).arg("--force"), 0);
        assert!(said.contains(says), "{what}: {said}");
        let found = codecs(&out);
        assert!(found.contains(expected), "{what}: {found}");
        if to != "ts" {
            let languages = ffprobe(
                &out,
                &[
                    "-select_streams",
                    "a",
                    "-show_entries",
                    "stream_tags=language",
                ],
            );
            assert_eq!(languages[0], "eng", "{what}");
            assert!(
                ["fre", "fra"].contains(&languages[1].as_str()),
                "{what}: {languages:?}"
            );
        }
        if expected.contains("subrip") || expected.contains("mov_text") {
            let back = dir.path().join("back.srt");
            ffmpeg(&[
                "-i",
                out.to_str().unwrap(),
                "-map",
                "0:s",
                back.to_str().unwrap(),
            ]);
            let back = std::fs::read_to_string(back).unwrap();
            assert!(
                back.contains("World") && back.contains("Hello &"),
                "{what}: {back}"
            );
            assert!(back.contains("00:00:02,0"), "{what}: {back}");
        }
        for i in 0..2 {
            let a = format!("a:{i}");
            let again = codecs(&out).contains("opus") || to == "mp4" && source == &mkv && i == 1;
            if !again && to != "ts" {
                let (x, y) = (packets(source, &a), packets(&out, &a));
                let from = x.iter().position(|h| *h == y[0]).unwrap();
                assert!(
                    x[from..].starts_with(&y) && from <= 1 && y.len() + 3 >= x.len(),
                    "{what}: {} {}",
                    x.len(),
                    y.len()
                );
            }
        }
    }
}

#[test]
fn a_part_is_exact() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    for clip in ["stream_of_water_360p.mp4", "park_joy_480x270_10f.y4m"] {
        let source = clips.join(clip);
        let all = times(&source);
        let (start, length) = if clip.ends_with("y4m") {
            (0.06, 0.1)
        } else {
            (1.0, 0.75)
        };
        let expected: Vec<f64> = all
            .iter()
            .copied()
            .filter(|t| *t >= start - 1e-6 && *t < start + length - 1e-6)
            .map(|t| t - start)
            .collect();
        let out = dir.path().join("part.mp4");
        expect(
            upscale(&source, &out).args([
                "--force",
                "--start",
                &start.to_string(),
                "--duration",
                &length.to_string(),
            ]),
            0,
        );
        let found = times(&out);
        assert_eq!(found.len(), expected.len(), "{clip}");
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < 2e-5, "{clip}: {f} {e}");
        }
    }
}

#[test]
fn exact_sizes_and_comparisons() {
    let Some(clips) = clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = clips.join("carphone_qcif.mp4");
    for (args, expected) in [
        (&["--size", "640x480"][..], (640, 480)),
        (&["--scale", "3"], (528, 432)),
        (&["--compare", "side"], (704, 288)),
        (&["--compare", "split"], (352, 288)),
    ] {
        let out = dir.path().join("out.mp4");
        expect(
            upscale(&source, &out)
                .args(args)
                .args(["--force", "--duration", "0.3"]),
            0,
        );
        assert_eq!(size(&out), expected, "{args:?}");
    }
}

#[test]
fn hdr10_metadata_stays() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("hdr.mp4");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=192x108:r=25:d=0.4",
        "-pix_fmt",
        "yuv420p10le",
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
        source.to_str().unwrap(),
    ]);
    let side = |p: &Path| {
        ffprobe(
            p,
            &[
                "-select_streams",
                "v:0",
                "-read_intervals",
                "%+#1",
                "-show_entries",
                "frame_side_data=red_x,green_y,white_point_x,max_luminance,max_content,max_average",
            ],
        )
        .join(" ")
    };
    assert!(side(&source).contains("1000"), "{}", side(&source));
    for (to, encoder) in [("mp4", "x265"), ("mkv", "x265"), ("ts", "x265")] {
        let out = dir.path().join(format!("{encoder}.{to}"));
        expect(upscale(&source, &out).args(["--encoder", encoder]), 0);
        assert_eq!(side(&out), side(&source), "{encoder} {to}");
        assert_eq!(colour(&out), colour(&source), "{encoder} {to}");
    }
}
