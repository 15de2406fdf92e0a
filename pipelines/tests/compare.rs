//! Reports, and `gst-neural compare` and `ladder` from end to end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use gst_neural::report::html::{
    Candidate, Column, DifferenceRow, Level, Note, Page, Pictures, PointRow, Pooled, RateChart,
    RateSeries, data_uri,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

mod common;
use common::browser::*;

fn column(name: &str, label: &str, unit: &'static str, digits: usize, main: bool) -> Column {
    Column {
        name: name.into(),
        label: label.into(),
        unit,
        digits,
        higher_is_better: true,
        main,
    }
}

fn pool(values: &[Option<f64>]) -> Option<Pooled> {
    let mut v: Vec<f64> = values.iter().flatten().copied().collect();
    v.sort_by(f64::total_cmp);
    let n = v.len() as f64;
    Some(Pooled {
        mean: v.iter().sum::<f64>() / n,
        harmonic_mean: n / v.iter().map(|x| 1.0 / (x + 1.0)).sum::<f64>() - 1.0,
        min: *v.first()?,
        max: *v.last()?,
        p1: v[v.len() / 100],
        p5: v[v.len() / 20],
    })
}

fn picture(seed: u32, w: u32, h: u32) -> String {
    let image = image::RgbImage::from_fn(w, h, |x, y| {
        image::Rgb([
            (x * 255 / w) as u8,
            (y * 255 / h) as u8,
            ((x / 16 + y / 16 + seed) % 2 * 90) as u8,
        ])
    });
    let mut bytes = Vec::new();
    image
        .write_to(
            &mut std::io::Cursor::new(&mut bytes),
            image::ImageFormat::Png,
        )
        .unwrap();
    data_uri("image/png", &bytes)
}

/// A page with everything in it: three candidates, gaps, a name that attacks.
fn fixture(frames: usize) -> Page {
    let names = [
        "new-net.mp4",
        "old <b onmouseover=alert(1)> & co.mp4",
        "a rather long name of a file that does not fit into a column of the table.webm",
    ];
    let columns = vec![
        column("vmaf", "VMAF", "", 2, true),
        column("psnr-y", "PSNR Y", "dB", 2, true),
        column("ssim", "SSIM", "", 4, true),
        column("psnr-u", "PSNR U", "dB", 2, false),
    ];
    let mut candidates = Vec::new();
    let mut pictures = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let time_s: Vec<f64> = (0..frames).map(|f| f as f64 / 25.0).collect();
        let base = |f: usize| {
            let t = f as f64 / 25.0;
            92.0 - 4.0 * i as f64 + 3.0 * (t * 1.3).sin() + 1.5 * (f as f64 * 1.7 + i as f64).sin()
                - if (60..75).contains(&f) { 15.0 } else { 0.0 }
        };
        let values: Vec<Vec<Option<f64>>> = (0..4)
            .map(|c| {
                (0..frames)
                    .map(|f| {
                        // A candidate with frames that have no counterpart.
                        if i == 1 && (100..110).contains(&f) {
                            return None;
                        }
                        Some(match c {
                            0 => base(f),
                            1 => 20.0 + base(f) / 5.0,
                            2 => 0.9 + base(f) / 1000.0,
                            _ => 22.0 + base(f) / 5.0,
                        })
                    })
                    .collect()
            })
            .collect();
        let worst = vec![62, 70];
        for &f in &worst {
            pictures.push(Pictures {
                candidate: i,
                frame: f as u64,
                time_s: f as f64 / 25.0,
                values: vec![("VMAF".into(), format!("{:.2}", base(f)))],
                width: 320,
                height: 180,
                reference: picture(0, 320, 180),
                distorted: picture(i as u32, 320, 180),
                difference: picture(7, 320, 180),
                amplification: 8,
            });
        }
        candidates.push(Candidate {
            name: (*name).into(),
            detail: "640\u{d7}360, 1.2 Mbit/s".into(),
            pooled: values.iter().map(|v| pool(v)).collect(),
            frames: (0..frames as u64).collect(),
            time_s,
            values,
            worst,
        });
    }
    Page {
        title: "Comparison with source.mp4".into(),
        subtitle: format!("640\u{d7}360, {frames} frames, 3 candidates"),
        generator: "gst-neural 0.1.0".into(),
        command: Some("gst-neural compare source.mp4 'old <b>.mp4'".into()),
        facts: vec![("Pairing".into(), "by running time".into())],
        notes: vec![
            Note {
                level: Level::Warning,
                text: "old <b onmouseover=alert(1)> & co.mp4: 10 frames are missing".into(),
            },
            Note {
                level: Level::Good,
                text: "new-net.mp4: vmaf 92.1, asked for at least 80".into(),
            },
        ],
        columns,
        candidates,
        worst_by: Some("vmaf".into()),
        pictures,
        picture_note: "Pictures are PNG, as decoded.".into(),
        ..Page::default()
    }
}

fn rates() -> Vec<RateChart> {
    use gst_neural::bd_rate::{Curve, Method, difference};
    let curves = [
        (
            "x264",
            vec![
                (1358.24, 34.851),
                (2486.44, 36.845),
                (4593.6, 38.615),
                (9487.76, 40.037),
            ],
        ),
        (
            "x265",
            vec![
                (1356.24, 34.987),
                (2451.52, 36.97),
                (4469.0, 38.651),
                (9787.8, 40.121),
            ],
        ),
    ];
    let a = Curve::new(curves[0].1.clone()).unwrap();
    let b = Curve::new(curves[1].1.clone()).unwrap();
    let d = difference(&a, &b, Method::Pchip).unwrap();
    let e = difference(&a, &b, Method::Akima).unwrap();
    vec![RateChart {
        label: "PSNR Y".into(),
        unit: "dB",
        digits: 2,
        rate_unit: "kbit/s".into(),
        series: curves
            .iter()
            .map(|(name, points)| RateSeries {
                name: (*name).into(),
                points: points
                    .iter()
                    .enumerate()
                    .map(|(i, p)| (p.0, p.1, format!("crf {}", 37 - 5 * i)))
                    .collect(),
                line: Curve::new(points.clone())
                    .unwrap()
                    .sample(Method::Pchip, 60),
            })
            .collect(),
        differences: vec![DifferenceRow {
            anchor: "x264".into(),
            test: "x265".into(),
            pchip_rate: Some(d.rate_percent),
            pchip_quality: d.quality,
            akima_rate: Some(e.rate_percent),
            akima_quality: e.quality,
            overlap: Some(d.overlap),
            why_not: None,
        }],
    }]
}

fn keep(name: &str, html: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, html).unwrap();
    path
}

#[test]
fn a_report_draws_its_charts_in_a_browser() {
    let page = fixture(250);
    let path = keep("report.html", &page.render());
    let Some(dom) = dom_in_chromium(&path) else {
        return;
    };
    assert_drawn(&dom, 3);
    assert_eq!(lines_drawn(&dom), 9, "three columns of three candidates");
    assert!(
        !dom.contains("<b onmouseover"),
        "a file name became an element"
    );
    assert_eq!(dom.matches("class=\"mark\"").count(), 6, "worst frames");
}

#[test]
fn a_long_report_is_thinned_out_but_keeps_its_extremes() {
    let mut page = fixture(60_000);
    page.candidates[0].values[0][31_234] = Some(3.25);
    page.pictures.clear();
    let path = keep("long-report.html", &page.render());
    let Some(dom) = dom_in_chromium(&path) else {
        return;
    };
    assert_drawn(&dom, 3);
    let line = dom.split("<path class=\"line\"").nth(1).unwrap();
    let d = line
        .split(" d=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(d.len() < 60_000, "{} bytes of path", d.len());
    let deepest = d
        .split(['M', 'L'])
        .filter_map(|p| p.split(' ').nth(1)?.parse::<f64>().ok())
        .fold(0.0, f64::max);
    assert!(
        deepest > 180.0,
        "the one bad frame of 60000 is drawn: {deepest}"
    );
}

#[test]
fn rate_distortion_curves_draw_in_a_browser() {
    let page = Page {
        title: "Rate and quality".into(),
        rate_charts: rates(),
        columns: vec![column("psnr-y", "PSNR Y", "dB", 2, true)],
        points: vec![PointRow {
            series: "x264".into(),
            label: "crf 37".into(),
            rate: 1358.24,
            bytes: Some(848_900),
            encode_s: Some(1.5),
            values: vec![Some(34.851)],
        }],
        ..Page::default()
    };
    let html = page.render();
    assert!(
        html.contains("\u{2212}4.42 %"),
        "the BD-rate of the example"
    );
    let path = keep("rates.html", &html);
    let Some(dom) = dom_in_chromium(&path) else {
        return;
    };
    assert_drawn(&dom, 0);
    assert_eq!(lines_drawn(&dom), 2);
    assert_eq!(dom.matches("<circle class=\"mark\"").count(), 8);
}

// --- The program --------------------------------------------------------------------------------

/// A clip of a moving ball; `frames` of 25 a second, one left out on request.
fn clip(path: &Path, frames: u32, quantizer: u32, size: (u32, u32), leave_out: Option<u64>) {
    use gst::prelude::*;
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers={frames} pattern=ball ! \
         video/x-raw,format=I420,width={},height={},framerate=25/1 ! identity name=i ! \
         x264enc speed-preset=ultrafast pass=quant quantizer={quantizer} ! h264parse ! \
         mp4mux ! filesink location={}",
        size.0,
        size.1,
        path.display()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    if let Some(number) = leave_out {
        let pad = pipeline.by_name("i").unwrap().static_pad("src").unwrap();
        let seen = std::sync::atomic::AtomicU64::new(0);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            match seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == number {
                true => gst::PadProbeReturn::Drop,
                false => gst::PadProbeReturn::Ok,
            }
        });
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let message = bus
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        )
        .unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}

struct Clips {
    dir: tempfile::TempDir,
}

impl Clips {
    /// `ref.mp4`, `good.mp4` and `bad.mp4` of 40 frames.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, quantizer) in [("ref", 4), ("good", 24), ("bad", 42)] {
            clip(
                &dir.path().join(format!("{name}.mp4")),
                40,
                quantizer,
                (192, 128),
                None,
            );
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program in the folder of the clips.
    fn run(&self, args: &[&str]) -> Output {
        Command::new(common::EXE)
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn last_event(output: &Output) -> serde_json::Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_default()
}

#[test]
fn two_encodes_are_measured_told_and_reported() {
    let clips = Clips::new();
    let out = clips.run(&[
        "compare",
        "ref.mp4",
        "good.mp4",
        "bad.mp4",
        "--metrics",
        "psnr,ssim",
        "--csv",
        "f.csv",
        "--report",
        "r.html",
        "--json",
        "--quiet",
    ]);
    assert_eq!(code(&out), 0, "{}", common::text(&out));
    let done = last_event(&out);
    assert_eq!(done["event"], "done");
    let mean = |i: usize| {
        done["candidates"][i]["metrics"]["psnr-y"]["mean"]
            .as_f64()
            .unwrap()
    };
    assert!(mean(0) > mean(1) + 3.0, "{} {}", mean(0), mean(1));
    assert_eq!(done["candidates"][0]["frames"], 40);
    let csv = std::fs::read_to_string(clips.path("f.csv")).unwrap();
    assert_eq!(csv.lines().count(), 81, "a header and 40 lines for each");
    let of_csv: f64 = csv
        .lines()
        .filter(|l| l.starts_with("good.mp4,"))
        .map(|l| l.split(',').nth(4).unwrap().parse::<f64>().unwrap())
        .sum::<f64>()
        / 40.0;
    assert!((of_csv - mean(0)).abs() < 1e-5, "{of_csv} {}", mean(0));
    let html = std::fs::read_to_string(clips.path("r.html")).unwrap();
    assert!(html.contains("data:image/png;base64,") && html.contains("Difference \u{d7}8"));
    if let Some(dom) = dom_in_chromium(&clips.path("r.html")) {
        assert_drawn(&dom, 2);
        assert_eq!(lines_drawn(&dom), 4);
    }
    // A second time it is not overwritten, and nothing else lies about.
    let again = clips.run(&["compare", "ref.mp4", "good.mp4", "--report", "r.html"]);
    assert_eq!(code(&again), 1, "{}", common::text(&again));
    let parts = std::fs::read_dir(clips.dir.path())
        .unwrap()
        .filter(|e| {
            let name = e.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(".part")
        })
        .count();
    assert_eq!(parts, 0);
}

#[test]
fn a_limit_that_is_not_kept_is_exit_4() {
    let clips = Clips::new();
    let compare = |limit: &str, report: &str| {
        clips.run(&[
            "compare",
            "ref.mp4",
            "bad.mp4",
            "--metrics",
            "psnr",
            "--fail-under",
            limit,
            "--report",
            report,
            "--worst",
            "0",
        ])
    };
    let out = compare("psnr-y=90", "failed.html");
    assert_eq!(code(&out), 4, "{}", common::text(&out));
    assert!(common::text(&out).contains("FAILED psnr-y=90"));
    let html = std::fs::read_to_string(clips.path("failed.html")).unwrap();
    assert!(html.contains("note bad"), "the report says so, too");
    assert_eq!(code(&compare("psnr-y.min=5", "kept.html")), 0);
    assert_eq!(code(&compare("vmaf=5", "none.html")), 2);
    assert!(!clips.path("none.html").exists());
}

#[test]
fn a_missing_frame_is_told() {
    let clips = Clips::new();
    clip(&clips.path("gap.mp4"), 40, 20, (192, 128), Some(17));
    let out = clips.run(&[
        "compare",
        "ref.mp4",
        "gap.mp4",
        "--metrics",
        "psnr",
        "--json",
    ]);
    assert_eq!(code(&out), 0, "{}", common::text(&out));
    let done = last_event(&out);
    assert_eq!(done["candidates"][0]["faults"]["missing"], 1, "{done}");
    assert_eq!(done["candidates"][0]["frames"], 39);
    assert!(common::text(&out).contains("frame 17"));
    let strict = clips.run(&[
        "compare",
        "ref.mp4",
        "gap.mp4",
        "--metrics",
        "psnr",
        "--strict",
    ]);
    assert_eq!(code(&strict), 1, "{}", common::text(&strict));
}

#[test]
fn another_size_needs_a_scale() {
    let clips = Clips::new();
    clip(&clips.path("small.mp4"), 40, 10, (96, 64), None);
    let out = clips.run(&["compare", "ref.mp4", "small.mp4", "--metrics", "psnr"]);
    assert_eq!(code(&out), 2, "{}", common::text(&out));
    let out = clips.run(&[
        "compare",
        "ref.mp4",
        "small.mp4",
        "--metrics",
        "psnr",
        "--scale",
        "lanczos",
    ]);
    assert_eq!(code(&out), 0, "{}", common::text(&out));
}

#[test]
fn misuse_is_exit_2_and_failure_exit_1_and_nothing_is_written() {
    let clips = Clips::new();
    std::fs::write(clips.path("text.mp4"), "no video").unwrap();
    for (args, wanted) in [
        (vec!["compare", "ref.mp4"], 2),
        (
            vec!["compare", "ref.mp4", "bad.mp4", "--metrics", "nope"],
            2,
        ),
        (vec!["compare", "ref.mp4", "missing.mp4"], 1),
        (vec!["compare", "ref.mp4", "text.mp4"], 1),
        (vec!["compare", "--bd-rate", "A:1=2"], 1),
        (vec!["compare", "--bd-rate", "A:1=2,2=3", "B:x.mp4"], 2),
        (vec!["ladder", "missing.mp4"], 1),
        (vec!["ladder", "ref.mp4", "--crf", "70"], 2),
    ] {
        let mut args = args;
        if args[0] == "compare" {
            args.extend(["--report", "never.html"]);
        }
        let out = clips.run(&args);
        let text = common::text(&out);
        // Two curves are needed, and at least two points each.
        let wanted = if args.contains(&"A:1=2") { 2 } else { wanted };
        assert_eq!(code(&out), wanted, "{args:?}: {text}");
        let errors = text.lines().filter(|l| l.starts_with("gst-neural: "));
        assert_eq!(errors.count(), 1, "{args:?}: {text}");
        assert!(!clips.path("never.html").exists());
    }
}

#[test]
fn the_bd_rate_of_points_on_the_command_line() {
    let clips = tempfile::tempdir().unwrap();
    let out = Command::new(common::EXE)
        .args([
            "compare",
            "--bd-rate",
            "A:9487.76=40.037,4593.60=38.615,2486.44=36.845,1358.24=34.851",
            "B:9787.80=40.121,4469.00=38.651,2451.52=36.970,1356.24=34.987",
            "--json",
            "--csv",
            "points.csv",
        ])
        .current_dir(clips.path())
        .output()
        .unwrap();
    assert_eq!(code(&out), 0, "{}", common::text(&out));
    let d = &last_event(&out)["differences"][0];
    let rate = |method: &str| d[method]["rate_percent"].as_f64().unwrap();
    assert!((rate("pchip") - -4.417485).abs() < 1e-5, "{d}");
    assert!((rate("akima") - -4.425245).abs() < 1e-5, "{d}");
    // The points that were written are points to read.
    let out = Command::new(common::EXE)
        .args(["compare", "--bd-rate", "points.csv"])
        .current_dir(clips.path())
        .output()
        .unwrap();
    assert!(
        common::text(&out).contains("-4.42 %"),
        "{}",
        common::text(&out)
    );
}

#[test]
fn a_ladder_goes_on_where_it_stopped() {
    let clips = Clips::new();
    let ladder = |crf: &str, report: &str| {
        clips.run(&[
            "ladder",
            "ref.mp4",
            "--encoders",
            "x264,x265",
            "--crf",
            crf,
            "--preset",
            "ultrafast",
            "--metrics",
            "psnr",
            "--report",
            report,
            "--json",
            "--quiet",
        ])
    };
    let known = |out: &Output| -> Vec<bool> {
        String::from_utf8_lossy(&out.stdout)
            .lines()
            .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
            .filter(|v| v["event"] == "point")
            .map(|v| v["known"] == true)
            .collect()
    };
    let first = ladder("24,44", "a.html");
    assert_eq!(code(&first), 0, "{}", common::text(&first));
    assert_eq!(known(&first), [false; 4]);
    let second = ladder("24,34,44", "b.html");
    assert_eq!(code(&second), 0, "{}", common::text(&second));
    assert_eq!(known(&second), [true, false, true, true, false, true]);
    let d = &last_event(&second)["differences"][0];
    assert!(d["pchip"]["rate_percent"].is_number(), "{d}");
    if let Some(dom) = dom_in_chromium(&clips.path("b.html")) {
        assert_drawn(&dom, 0);
        assert_eq!(lines_drawn(&dom), 2);
    }
    std::fs::copy(clips.path("bad.mp4"), clips.path("ref.mp4")).unwrap();
    let other = ladder("24", "c.html");
    assert_eq!(code(&other), 1, "{}", common::text(&other));
}

#[test]
fn our_encoder_is_one_of_the_ladder() {
    let clips = Clips::new();
    let mut args = vec!["ladder", "ref.mp4", "--encoders", "x264,neural"];
    args.extend([
        "--crf",
        "24,44",
        "--preset",
        "ultrafast",
        "--metrics",
        "psnr",
    ]);
    let run = |more: &[&str]| {
        let all = [&args[..], more, &["--json", "--quiet"]].concat();
        let out = clips.run(&all);
        assert_eq!(code(&out), 0, "{}", common::text(&out));
        let lines = String::from_utf8(out.stdout.clone()).unwrap();
        let events = lines.lines().map(|l| serde_json::from_str(l).unwrap());
        let events: Vec<serde_json::Value> = events.collect();
        let points = events.iter().filter(|v| v["event"] == "point");
        let points: Vec<_> = points.cloned().collect();
        (points, last_event(&out))
    };
    let (points, done) = run(&["--crf-for", "neural=8,24"]);
    let found: Vec<_> = points
        .iter()
        .map(|p| (p["point"]["encoder"].as_str(), p["point"]["crf"].as_u64()))
        .collect();
    let of = |name, number| (Some(name), Some(number));
    let wanted = [
        of("x264", 24),
        of("x264", 44),
        of("neural", 8),
        of("neural", 24),
    ];
    assert_eq!(found, wanted);
    for (i, p) in points.iter().enumerate() {
        assert_eq!(p["point"]["frames"], 40, "{p}");
        let model = p["point"]["preset"].as_str().unwrap().starts_with("model-");
        assert_eq!(model, i > 1, "{p}");
    }
    // Its numbers count up.
    let bytes = |i: usize| points[i]["point"]["bytes"].as_u64().unwrap();
    let psnr = |i: usize| points[i]["point"]["values"]["psnr-y"].as_f64().unwrap();
    assert!(bytes(2) < bytes(3) && psnr(2) < psnr(3), "{points:?}");
    let d = &done["differences"][0];
    assert!(d["pchip"]["rate_percent"].is_number(), "{done}");
    let (again, _) = run(&["--crf-for", "neural=8,16,24"]);
    let known: Vec<bool> = again.iter().map(|p| p["known"] == true).collect();
    assert_eq!(known, [true, true, true, false, true]);

    let wrong = ["--encoders", "neural", "--crf-for", "neural=32"];
    let out = clips.run(&[&["ladder", "ref.mp4"], &wrong[..]].concat());
    assert_eq!(code(&out), 2, "{}", common::text(&out));
}

#[test]
fn networks_are_compared_with_bicubic_in_one_graph() {
    let clips = Clips::new();
    let out = Command::new(common::EXE)
        .args([
            "compare",
            "ref.mp4",
            "--upscale",
            "luma-x2-clean,luma-x2-fast-clean",
        ])
        .args([
            "--metrics",
            "psnr",
            "--json",
            "--quiet",
            "--report",
            "u.html",
            "--model-dir",
        ])
        .arg(common::root().join("models"))
        .current_dir(clips.dir.path())
        .output()
        .unwrap();
    if common::text(&out).contains("ONNX Runtime could not be loaded") {
        eprintln!("SKIPPED: no ONNX Runtime here (packaging/setup.sh fetches it)");
        return;
    }
    assert_eq!(code(&out), 0, "{}", common::text(&out));
    let done = last_event(&out);
    let psnr = |i: usize| {
        done["candidates"][i]["metrics"]["psnr-y"]["mean"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(done["candidates"][2]["name"], "bicubic");
    assert!(psnr(0) > psnr(2), "{} {}", psnr(0), psnr(2));
    for i in 0..3 {
        assert_eq!(done["candidates"][i]["frames"], 40);
    }
}

#[test]
fn hdr_of_ten_bits_is_measured_as_coded() {
    let Some(clips) = common::clips() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let clip = clips.join("rooftop_1080p_hlg10.mp4");
    let x265 = |from: &str, settings: &str, to: &str| {
        let part = ["-frames:v", "5", "-vf", "crop=640:360:600:300"];
        let filter = if from == clip.to_str().unwrap() {
            &part[..]
        } else {
            &[]
        };
        let settings = format!("{settings}:log-level=none");
        let encoder = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params"];
        common::ffmpeg(&[&["-i", from], filter, &encoder, &[&settings, to]].concat());
    };
    x265(clip.to_str().unwrap(), "lossless=1", &path("ref.mp4"));
    x265(&path("ref.mp4"), "crf=32", &path("ten.mp4"));
    // The same samples in 8 bits, said to be SDR.
    common::ffmpeg(&[
        "-i",
        &path("ten.mp4"),
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
        "-qp",
        "0",
        "-color_trc",
        "bt709",
        "-colorspace",
        "bt709",
        "-color_primaries",
        "bt709",
        &path("eight.mp4"),
    ]);
    let out = Command::new(common::EXE)
        .args([
            "compare",
            "ref.mp4",
            "ten.mp4",
            "eight.mp4",
            "--metrics",
            "psnr",
        ])
        .args(["--report", "r.html", "--json"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = common::text(&out);
    assert_eq!(code(&out), 0, "{said}");
    assert!(
        said.contains("eight.mp4: its samples mean other colours"),
        "{said}"
    );
    assert!(said.contains("eight.mp4: converted from I420"), "{said}");
    assert!(!said.contains("warning: ten.mp4"), "{said}");
    let done = last_event(&out);
    assert_eq!(done["reference"]["format"], "I420_10LE");
    // FFmpeg's figure for the 10-bit pair.
    let log = dir.path().join("psnr.txt");
    common::ffmpeg(&[
        "-i",
        &path("ten.mp4"),
        "-i",
        &path("ref.mp4"),
        "-lavfi",
        &format!("psnr=stats_file={}", log.display()),
        "-f",
        "null",
        "-",
    ]);
    let values: Vec<f64> = std::fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(|l| {
            let y = l.split("psnr_y:").nth(1).unwrap();
            y.split_whitespace().next().unwrap().parse().unwrap()
        })
        .collect();
    let wanted = values.iter().sum::<f64>() / values.len() as f64;
    let found = done["candidates"][0]["metrics"]["psnr-y"]["mean"]
        .as_f64()
        .unwrap();
    assert_eq!(values.len(), 5);
    assert!((found - wanted).abs() < 0.01, "{found} {wanted}");
    let html = std::fs::read_to_string(dir.path().join("r.html")).unwrap();
    assert!(html.contains("not tone-mapped"));
}
