use std::process::Command;

use gstneural_pixels::FrameBuf;

use super::*;
use crate::{
    Summary,
    testing::{data, read_yuv, scene},
};

fn config(metrics: &str) -> Config {
    Config {
        metrics: metrics.parse().unwrap(),
        ..Config::default()
    }
}

#[test]
fn sizes_are_scaled_only_when_asked() {
    let (big, small) = (
        scene(PixelFormat::I420, 128, 96, 0, 0),
        scene(PixelFormat::I420, 64, 48, 0, 0),
    );
    let push = |scale, d: &FrameBuf| {
        let config = Config {
            scale,
            ..config("psnr")
        };
        let mut c = Comparer::new(&config, &big.as_ref()).unwrap();
        c.push(&big.as_ref(), &d.as_ref())
    };
    let text = push(None, &small).unwrap_err().to_string();
    assert!(text.contains("128x96") && text.contains("64x48"), "{text}");
    let bicubic = push(Some(Filter::Bicubic), &small).unwrap();
    let lanczos = push(Some(Filter::Lanczos), &small).unwrap();
    assert_ne!(bicubic, lanczos);
    assert!(bicubic[0].values[0] < Some(60.0));
    assert!(push(Some(Filter::Bicubic), &big).unwrap()[0].identical());
}

#[test]
fn frames_that_do_not_go_together_are_errors() {
    let r = scene(PixelFormat::I420, 64, 48, 0, 0);
    for (format, good) in [
        (PixelFormat::Nv12, true),
        (PixelFormat::Yv12, true),
        (PixelFormat::I42010Le, false),
        (PixelFormat::Y42b, false),
        (PixelFormat::Gray8, false),
        (PixelFormat::Rgb, false),
    ] {
        let mut c = Comparer::new(&config("psnr,ssim"), &r.as_ref()).unwrap();
        let result = c.push(&r.as_ref(), &scene(format, 64, 48, 0, 0).as_ref());
        assert_eq!(result.is_ok(), good, "{format:?}");
    }
    assert!(matches!(
        Comparer::new(
            &config("psnr"),
            &scene(PixelFormat::Rgb, 8, 8, 0, 0).as_ref()
        ),
        Err(MetricError::Format(PixelFormat::Rgb))
    ));
    assert!(matches!(
        Comparer::new(
            &config("ssim"),
            &scene(PixelFormat::I420, 8, 6, 0, 0).as_ref()
        ),
        Err(MetricError::TooSmall { .. })
    ));
    let mut c = Comparer::new(&config("psnr"), &r.as_ref()).unwrap();
    let other = scene(PixelFormat::I420, 32, 48, 0, 0);
    assert!(matches!(
        c.push(&other.as_ref(), &other.as_ref()),
        Err(MetricError::ReferenceChanged(..))
    ));
}

#[test]
fn the_two_poolings_of_psnr_differ_and_are_both_there() {
    let r = scene(PixelFormat::Gray8, 32, 32, 0, 0);
    let mut c = Comparer::new(&config("psnr"), &r.as_ref()).unwrap();
    let mut s = Summary::new(c.columns());
    let mut sse = Vec::new();
    for by in [1, 8] {
        let mut d = r.clone();
        for x in 0..32 {
            let v = r.as_ref().component(0).get(x, 0);
            d.as_mut().component_mut(0).set(x, 0, v - by);
        }
        sse.push(f64::from(by * by * 32) / 1024.0);
        for scores in c.push(&r.as_ref(), &d.as_ref()).unwrap() {
            s.add(&scores);
        }
    }
    let p = |mse: f64| 10.0 * (255.0f64.powi(2) / mse).log10();
    let pooled = s.pooled("psnr-y").unwrap();
    assert!((pooled.mean - (p(sse[0]) + p(sse[1])) / 2.0).abs() < 1e-9);
    let of_mean = pooled.of_mean_mse.unwrap();
    assert!((of_mean - p((sse[0] + sse[1]) / 2.0)).abs() < 1e-9);
    assert!(of_mean < pooled.mean - 3.0);
}

/// Decodes the first frames of a clip to raw video of `format`.
fn decode(clip: &std::path::Path, format: &str, filter: &str, out: &std::path::Path) {
    let ok = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-i"])
        .arg(clip)
        .args([
            "-frames:v",
            "8",
            "-vf",
            filter,
            "-pix_fmt",
            format,
            "-f",
            "rawvideo",
        ])
        .arg(out)
        .status();
    assert!(ok.unwrap().success(), "{}", clip.display());
}

/// The per-frame values `key:value` of a statistics file of ffmpeg.
fn stats(text: &str, key: &str) -> Vec<f64> {
    text.lines()
        .filter_map(|l| {
            l.split_whitespace()
                .find_map(|w| w.strip_prefix(key)?.strip_prefix(':'))
        })
        .map(|v| v.parse().unwrap())
        .collect()
}

/// Three clips, in formats of 8 and 10 bit, blurred, against ffmpeg's filters `psnr` and `ssim`.
#[test]
fn equal_to_ffmpegs_filters() {
    let Some(data) = data() else { return };
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        println!("SKIPPED: no ffmpeg");
        return;
    }
    let dir = std::env::temp_dir().join(format!("gstneural-metrics-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (clip, pix, format, w, h) in [
        ("flower_540p.mp4", "yuv420p", PixelFormat::I420, 420, 236),
        (
            "rooftop_1080p_hlg10.mp4",
            "yuv420p10le",
            PixelFormat::I42010Le,
            422,
            238,
        ),
        (
            "city_rooftop_360p.mp4",
            "yuv422p",
            PixelFormat::Y42b,
            300,
            170,
        ),
        (
            "tears_of_steel_800x332.webm",
            "yuv444p10le",
            PixelFormat::Y44410Le,
            400,
            166,
        ),
        ("carphone_qcif.mp4", "gray", PixelFormat::Gray8, 176, 144),
    ] {
        let path = data.join("video").join(clip);
        let (a, b) = (dir.join("a.yuv"), dir.join("b.yuv"));
        let scale = format!("scale={w}:{h}");
        decode(&path, pix, &scale, &a);
        decode(
            &path,
            pix,
            &format!("{scale},boxblur=1:1,noise=alls=8:all_seed=3"),
            &b,
        );
        let input = |file: &std::path::Path| {
            let size = format!("{w}x{h}");
            let args = ["-f", "rawvideo", "-pix_fmt", pix, "-s", &size, "-i"];
            let mut args: Vec<_> = args.map(String::from).into();
            args.push(file.display().to_string());
            args
        };
        let graph = "[0][1]psnr=stats_file=psnr.log;[0][1]ssim=stats_file=ssim.log";
        let output = Command::new("ffmpeg")
            .current_dir(&dir)
            .args(["-v", "info", "-nostdin"])
            .args(input(&b))
            .args(input(&a))
            .args(["-lavfi", graph, "-f", "null", "-"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );

        let read = |f| read_yuv(&std::fs::read(f).unwrap(), format, w, h);
        let (reference, distorted) = (read(&a), read(&b));
        assert_eq!(reference.len(), 8, "{clip}");
        let mut c = Comparer::new(&config("psnr,ssim"), &reference[0].as_ref()).unwrap();
        let mut summary = Summary::new(c.columns());
        for (r, d) in reference.iter().zip(&distorted) {
            for s in c.push(&r.as_ref(), &d.as_ref()).unwrap() {
                summary.add(&s);
            }
        }
        let (psnr, ssim) = (
            std::fs::read_to_string(dir.join("psnr.log")).unwrap(),
            std::fs::read_to_string(dir.join("ssim.log")).unwrap(),
        );
        let grey = format == PixelFormat::Gray8;
        for (column, theirs, digit) in [
            ("psnr-y", stats(&psnr, "psnr_y"), 0.00501),
            ("psnr-u", stats(&psnr, "psnr_u"), 0.00501),
            ("psnr-v", stats(&psnr, "psnr_v"), 0.00501),
            ("psnr-avg", stats(&psnr, "psnr_avg"), 0.00501),
            ("ssim-y", stats(&ssim, "Y"), 0.00000051),
            ("ssim-u", stats(&ssim, "U"), 0.00000051),
            ("ssim-v", stats(&ssim, "V"), 0.00000051),
            ("ssim", stats(&ssim, "All"), 0.00000051),
        ] {
            let Some(ours) = summary.values(column) else {
                assert!(grey, "{column}");
                continue;
            };
            assert_eq!(ours.len(), theirs.len(), "{clip} {column}");
            for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                assert!(
                    (a - b).abs() <= digit,
                    "{clip} {column} frame {i}: {a} and {b}"
                );
            }
        }
        // ffmpeg's last line has PSNR of the mean MSE with six digits.
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|l| l.contains("PSNR y:")).unwrap();
        for (column, key) in [("psnr-y", "y"), ("psnr-avg", "average")] {
            let Some(ours) = summary.pooled(column).and_then(|p| p.of_mean_mse) else {
                assert!(grey);
                continue;
            };
            let theirs = stats(line, key)[0];
            println!("{clip} {column}: {ours:.6}, ffmpeg {theirs:.6}");
            assert!(
                (ours - theirs).abs() < 1e-6,
                "{clip} {column}: {ours} and {theirs}"
            );
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn without_psnr_equality_is_told_all_the_same() {
    let a = scene(PixelFormat::I420, 64, 48, 0, 0);
    let b = scene(PixelFormat::I420, 64, 48, 1, 0);
    let mut c = Comparer::new(&config("ssim"), &a.as_ref()).unwrap();
    let mut identical = |d: &FrameBuf| c.push(&a.as_ref(), &d.as_ref()).unwrap()[0].identical();
    assert!(identical(&a));
    assert!(!identical(&b));
    assert!(identical(&a));
}
