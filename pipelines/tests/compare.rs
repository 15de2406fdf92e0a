//! Reports, and `gst-neural compare` and `ladder` from end to end.

use gst_neural::report::html::{
    Candidate, Column, DifferenceRow, Level, Note, Page, Pictures, PointRow, Pooled, RateChart,
    RateSeries, data_uri,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What headless Chromium makes of a page, or nothing where there is no Chromium.
fn dom_in_chromium(page: &Path) -> Option<String> {
    let browser = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .arg("--version")
                .output()
                .is_ok_and(|o| o.status.success())
        });
    let Some(browser) = browser else {
        eprintln!("SKIPPED: no chromium here (apt install chromium); the page was not opened");
        return None;
    };
    let profile = tempfile::tempdir().unwrap();
    let out = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,2000",
            "--virtual-time-budget=3000",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--dump-dom")
        .arg(format!(
            "file://{}",
            page.canonicalize().unwrap().to_str().unwrap()
        ))
        .output()
        .unwrap();
    assert!(out.status.success(), "chromium: {out:?}");
    Some(String::from_utf8(out.stdout).unwrap())
}

/// The value of an attribute of the page's root element.
fn root_attribute<'a>(dom: &'a str, name: &str) -> Option<&'a str> {
    let root = dom.split("<html").nth(1)?.split('>').next()?;
    root.split(&format!("{name}=\"")).nth(1)?.split('"').next()
}

/// Asserts that the script ran to its end and drew `plots` charts over time.
fn assert_drawn(dom: &str, plots: usize) {
    assert_eq!(root_attribute(dom, "data-error"), None);
    assert_eq!(root_attribute(dom, "data-ready"), Some("1"));
    if plots > 0 {
        assert_eq!(
            root_attribute(dom, "data-plots"),
            Some(plots.to_string().as_str())
        );
    }
}

fn lines_drawn(dom: &str) -> usize {
    dom.matches("<path class=\"line\"").count()
}

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
