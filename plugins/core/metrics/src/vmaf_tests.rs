use gstneural_pixels::{FrameBuf, PixelFormat};

use super::*;
use crate::{
    Comparer, FrameScores, Summary,
    testing::{Random, data, read_yuv, scene},
};

fn config(metrics: &str, models: &str, threads: usize) -> Config {
    Config {
        metrics: metrics.parse().unwrap(),
        models: VmafModels::from(models),
        threads,
        ..Config::default()
    }
}

fn run(config: &Config, pairs: &[(&FrameBuf, &FrameBuf)]) -> (Summary, Vec<FrameScores>, usize) {
    let mut comparer = Comparer::new(config, &pairs[0].0.as_ref()).unwrap();
    let mut all = Vec::new();
    for (r, d) in pairs {
        all.extend(comparer.push(&r.as_ref(), &d.as_ref()).unwrap());
    }
    let early = all.len();
    all.extend(comparer.finish().unwrap());
    let mut summary = Summary::new(comparer.columns());
    for s in &all {
        summary.add(s);
    }
    (summary, all, early)
}

/// The reference and the distorted clip of libvmaf's own tests, 10 bit.
fn netflix_pair() -> Option<(Vec<FrameBuf>, Vec<FrameBuf>)> {
    let dir = data()?.join("images/vmaf_pairs");
    let read = |name: &str| {
        let bytes = std::fs::read(dir.join(name)).unwrap();
        read_yuv(&bytes, PixelFormat::I42010Le, 576, 324)
    };
    Some((
        read("src01_hrc00_576x324.yuv420p10le.yuv"),
        read("src01_hrc01_576x324.yuv420p10le.yuv"),
    ))
}

fn pairs<'a>(r: &'a [FrameBuf], d: &'a [FrameBuf]) -> Vec<(&'a FrameBuf, &'a FrameBuf)> {
    r.iter().zip(d).collect()
}

/// What Netflix states in python/test/vmafexec_test.py for this pair, to the four decimals that
/// Netflix compares: the sixth differs between libvmaf's own processors and versions (its rewritten
/// motion gives 2.809551, its rewritten ADM 0.951770).
#[test]
fn netflix_known_answers() {
    let Some((r, d)) = netflix_pair() else { return };
    let config = config("psnr,float-ssim,ms-ssim,vmaf,vmaf-features", "", 2);
    let (summary, all, _) = run(&config, &pairs(&r, &d));
    assert_eq!(all.len(), 3);
    for (column, expected) in [
        ("vmaf", 82.564225),
        ("float-ssim", 0.897863),
        ("ms-ssim", 0.974749),
        ("adm2", 0.951776),
        ("motion2", 2.809549),
        ("vif-scale0", 0.433089),
        ("vif-scale1", 0.830613),
        ("vif-scale2", 0.907212),
        ("vif-scale3", 0.945896),
    ] {
        let mean = summary.pooled(column).unwrap().mean;
        println!("{column} {mean:.6} (expected {expected:.6})");
        assert!((mean - expected).abs() < 5e-5, "{column}: {mean}");
    }
    // Exact arithmetic gives 32.571452; libvmaf's float_psnr adds up in single precision.
    let psnr = summary.pooled("psnr-y").unwrap().mean;
    println!("psnr-y {psnr:.6}");
    assert!((psnr - 32.571433).abs() < 5e-5, "{psnr}");
    assert!((psnr - 32.571452).abs() < 1e-6, "{psnr}");
}

#[test]
fn reference_against_itself() {
    let Some((r, _)) = netflix_pair() else { return };
    let (summary, ..) = run(&config("vmaf", "", 1), &pairs(&r, &r));
    let mean = summary.pooled("vmaf").unwrap().mean;
    assert!((mean - 99.142826).abs() < 1e-6, "{mean}");
    assert_eq!(summary.identical(), 3);
}

#[test]
fn scores_do_not_depend_on_threads_and_come_early() {
    let clip: Vec<_> = (0..24)
        .map(|i| scene(PixelFormat::I420, 96, 64, 2 * i, i * i / 9))
        .collect();
    let worse: Vec<_> = (0..24)
        .map(|i| scene(PixelFormat::I420, 96, 64, 2 * i + 1, i * i / 9))
        .collect();
    let (_, one, early) = run(
        &config("psnr,vmaf,vmaf-features", "v0.6.1,neg", 1),
        &pairs(&clip, &worse),
    );
    assert!(early >= 20, "{early} of 24 before the end");
    let (_, four, _) = run(
        &config("psnr,vmaf,vmaf-features", "v0.6.1,neg", 4),
        &pairs(&clip, &worse),
    );
    assert_eq!(one, four);
    assert!(one.iter().all(|s| s.values.iter().all(Option::is_some)));
    assert!(one.iter().enumerate().all(|(i, s)| s.index == i as u64));

    // libvmaf's own motion, all of it made at the end.
    let mut session =
        VmafSession::new(&config("vmaf-features", "", 1), PixelFormat::I420, (96, 64))
            .unwrap()
            .unwrap();
    for (r, d) in clip.iter().zip(&worse) {
        session.push(&r.as_ref(), &d.as_ref()).unwrap();
    }
    session.flush().unwrap();
    let at = one[0].values.len() - 1;
    for scores in &one {
        let late = session.next_scores().unwrap().unwrap();
        let (name, motion) = late.last().unwrap();
        assert_eq!(
            (name.as_str(), Some(*motion)),
            ("motion2", scores.values[at])
        );
    }
}

#[test]
fn models_are_told_apart() {
    let Some((r, d)) = netflix_pair() else { return };
    let file = data().unwrap().join("models/vmaf_v0.6.1.json");
    let models = format!(
        "v0.6.1,neg,4k,4k-neg,phone,vmaf_float_v0.6.1,{}",
        file.display()
    );
    let (summary, ..) = run(&config("vmaf", &models, 2), &pairs(&r, &d));
    let mean = |c: &str| summary.pooled(c).unwrap_or_else(|| panic!("{c}")).mean;
    for c in summary.columns() {
        println!("{} {:.6}", c.name, mean(&c.name));
    }
    assert!(mean("vmaf-neg") < mean("vmaf"));
    assert!(mean("vmaf-4k") > mean("vmaf") && mean("vmaf-phone") > mean("vmaf"));
    assert!((mean("vmaf-float_v0.6.1") - mean("vmaf")).abs() < 0.5);
    assert_eq!(
        mean("vmaf-v0.6.1"),
        mean("vmaf"),
        "the file of the built-in model"
    );
}

#[test]
fn every_format_and_metric_that_goes_together() {
    for format in [
        PixelFormat::I420,
        PixelFormat::Nv12,
        PixelFormat::Y42b,
        PixelFormat::Y444,
        PixelFormat::I42010Le,
        PixelFormat::P01010Le,
        PixelFormat::I42210Le,
        PixelFormat::Y44410Le,
        PixelFormat::Gray8,
    ] {
        let frame = scene(format, 240, 220, 0, 0);
        let mut names = "psnr,ssim,float-ssim,ms-ssim,vmaf,vmaf-features,cambi,temporal".to_owned();
        if format != PixelFormat::Gray8 {
            names += ",ciede2000,psnr-hvs";
        }
        let (summary, ..) = run(
            &config(&names, "", 2),
            &[(&frame, &frame), (&frame, &frame)],
        );
        for c in summary.columns() {
            let p = summary.pooled(&c.name);
            assert!(
                p.is_some_and(|p| p.mean.is_finite()),
                "{format:?} {} {p:?}",
                c.name
            );
        }
        assert!(summary.pooled("vmaf").unwrap().mean > 95.0, "{format:?}");
        assert!(summary.pooled("ms-ssim").unwrap().mean > 0.9999);
    }
}

#[test]
fn what_cannot_be_is_an_error_at_the_start() {
    let grey = Random(1).frame(PixelFormat::Gray8, 64, 64);
    let new = |metrics: &str, models: &str| {
        Comparer::new(&config(metrics, models, 1), &grey.as_ref())
            .map(drop)
            .map_err(|e| e.to_string())
    };
    for (metrics, models, text) in [
        ("ciede2000", "", "ciede2000 cannot be measured on GRAY8"),
        ("ms-ssim", "", "too small for ms-ssim"),
        ("cambi", "", "too small for cambi"),
        ("vmaf", "v9", "\"v9\": not built in"),
        ("vmaf", "/no/such.json", "No such file"),
        ("vmaf", "Cargo.toml.json", "No such file"),
    ] {
        let error = new(metrics, models).unwrap_err();
        assert!(error.contains(text), "{metrics} {models}: {error}");
    }
    let dir = std::env::temp_dir().join(format!("gstneural-metrics-{}.json", std::process::id()));
    std::fs::write(&dir, "{\"no\": [model").unwrap();
    assert!(
        new("vmaf", dir.to_str().unwrap())
            .unwrap_err()
            .contains("not a VMAF model")
    );
    std::fs::remove_file(&dir).unwrap();
}

#[test]
fn dropping_a_session_in_mid_stream_is_clean() {
    let frame = scene(PixelFormat::I420, 64, 64, 0, 0);
    for threads in [1, 3] {
        let mut comparer = Comparer::new(&config("vmaf", "", threads), &frame.as_ref()).unwrap();
        for _ in 0..5 {
            comparer.push(&frame.as_ref(), &frame.as_ref()).unwrap();
        }
    }
    assert!(!version().is_empty());
}
