//! The element in real pipelines.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::PathBuf,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gst::prelude::*;
use gstquality::psnrsink::{Fault, FaultKind, Frame, PadSummary, Summary};

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstquality::plugin_register_static().unwrap();
    });
}

/// What a pipeline said until its end.
struct Outcome {
    messages: Vec<gst::Message>,
    /// The text of the error, if that was the end.
    error: Option<String>,
}

impl Outcome {
    fn summary(&self) -> Summary {
        let mut all = self.messages.iter().filter_map(|m| Summary::parse(m));
        let summary = all
            .next()
            .unwrap_or_else(|| panic!("no summary: {:?}", self.error));
        assert!(all.next().is_none(), "one summary only");
        summary
    }

    fn pad(&self) -> PadSummary {
        self.summary().pads.remove(0)
    }

    fn frames(&self) -> Vec<Frame> {
        self.messages
            .iter()
            .filter_map(|m| Frame::parse(m))
            .collect()
    }

    /// Faults as kind, first frame, count.
    fn faults(&self) -> Vec<(FaultKind, u64, u64)> {
        let faults = self.messages.iter().filter_map(|m| Fault::parse(m));
        faults.map(|f| (f.kind, f.frame, f.count)).collect()
    }

    fn ok(self) -> Self {
        assert_eq!(self.error, None);
        self
    }

    fn error(&self) -> &str {
        self.error.as_deref().expect("an error")
    }
}

fn build(description: &str) -> gst::Pipeline {
    init();
    let pipeline = gst::parse::launch(description).unwrap_or_else(|e| panic!("{description}: {e}"));
    pipeline.downcast().unwrap()
}

fn run(pipeline: &gst::Pipeline) -> Outcome {
    let bus = pipeline.bus().unwrap();
    let started = pipeline.set_state(gst::State::Playing);
    let mut messages = Vec::new();
    let error = loop {
        let Some(m) = bus.timed_pop(gst::ClockTime::from_seconds(60)) else {
            panic!("no end after 60 s");
        };
        match m.view() {
            gst::MessageView::Error(e) => {
                break Some(e.error().to_string());
            }
            gst::MessageView::Eos(_) => break None,
            _ => messages.push(m),
        }
    };
    assert!(error.is_some() || started.is_ok());
    pipeline.set_state(gst::State::Null).unwrap();
    Outcome { messages, error }
}

fn play(description: &str) -> Outcome {
    run(&build(description))
}

/// A moving picture of some frames.
fn source(frames: u32, caps: &str) -> String {
    format!(
        "videotestsrc num-buffers={frames} pattern=ball motion=sweep ! \
         video/x-raw,format=I420,width=96,height=64,framerate=25/1{caps}"
    )
}

/// Two sources against each other; `between` comes before the distorted pad.
fn two(sink: &str, reference: &str, distorted: &str, between: &str) -> String {
    format!(
        "psnrsink name=q {sink} {reference} ! queue ! q.reference \
         {distorted} ! {between} queue ! q.distorted"
    )
}

/// Calls `f` with the number of each buffer that leaves element `name`.
fn probe(
    pipeline: &gst::Pipeline,
    name: &str,
    f: impl Fn(u64, &mut gst::Buffer) -> gst::PadProbeReturn + Send + Sync + 'static,
) {
    let pad = pipeline.by_name(name).unwrap().static_pad("src").unwrap();
    let count = AtomicU64::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        match info.buffer_mut() {
            Some(buffer) => f(number, buffer),
            None => gst::PadProbeReturn::Ok,
        }
    });
}

fn data(file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GST_NEURAL_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(file);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: no {} (set GST_NEURAL_DATA)", path.display());
    None
}

#[test]
fn a_tee_gives_identical_streams() {
    let out = play(&format!(
        "{} ! tee name=t psnrsink name=q metrics=psnr,ssim,temporal t. ! queue ! q.reference \
         t. ! queue ! q.distorted",
        source(20, "")
    ))
    .ok();
    let pad = out.pad();
    assert_eq!(
        (pad.pad.as_str(), pad.frames, pad.identical),
        ("distorted", 20, 20)
    );
    assert!(pad.faults.none() && out.faults().is_empty());
    let psnr = pad.metric("psnr-y").unwrap();
    assert_eq!((psnr.mean, psnr.of_mean_mse), (100.0, Some(100.0)));
    assert_eq!(pad.metric("ssim").unwrap().min, 1.0);
    let noise = pad.metric("temporal-noise").unwrap();
    assert_eq!(
        (noise.max, noise.frames),
        (0.0, 19),
        "the first frame has none"
    );
}

#[test]
fn a_tee_without_queues_works_while_it_can() {
    let out = play(&format!(
        "{} ! tee name=t psnrsink name=q t. ! q.reference t. ! q.distorted",
        source(50, "")
    ));
    assert_eq!(out.ok().pad().frames, 50);
}

#[test]
fn a_tee_without_queues_that_cannot_work_is_found_out() {
    for order in [
        "t. ! q.reference t. ! {}q.distorted",
        "t. ! {}q.distorted t. ! q.reference",
    ] {
        // An encoder that wants more frames than the sink may hold.
        let branches = order.replace("{}", "x264enc rc-lookahead=30 ! avdec_h264 ! ");
        let out = play(&format!(
            "{} ! tee name=t psnrsink name=q max-queue=5 {branches}",
            source(60, "")
        ));
        let error = out.error();
        assert!(
            error.contains("put a queue after each branch of the tee"),
            "{error}"
        );
    }
}

#[test]
fn a_stall_of_different_threads_ends_too() {
    let out = play(&format!(
        "{} ! tee name=t psnrsink name=q max-queue=3 stall-timeout=300000000 \
         t. ! queue max-size-buffers=3 ! q.reference \
         t. ! queue max-size-buffers=3 ! x264enc rc-lookahead=30 ! avdec_h264 ! q.distorted",
        source(60, "")
    ));
    assert!(
        out.error()
            .contains("let the queues before psnrsink hold more"),
        "{}",
        out.error()
    );
}

#[test]
fn an_encoded_stream_against_its_source() {
    let big = "queue max-size-buffers=0 max-size-bytes=0 max-size-time=0";
    let out = play(&format!(
        "{} ! tee name=t psnrsink name=q metrics=psnr,ssim,vmaf strict=true \
         t. ! {big} ! q.reference \
         t. ! {big} ! x264enc pass=qual quantizer=30 ! avdec_h264 ! q.distorted",
        source(60, "")
    ))
    .ok();
    let pad = out.pad();
    assert_eq!(pad.frames, 60);
    let psnr = pad.metric("psnr-y").unwrap();
    assert!(psnr.mean > 30.0 && psnr.mean < 60.0, "{psnr:?}");
    assert!(psnr.of_mean_mse.unwrap() <= psnr.mean);
    assert!(psnr.min <= psnr.p1 && psnr.p1 <= psnr.p5 && psnr.p5 <= psnr.mean);
    assert!(pad.metric("vmaf").unwrap().mean > 50.0);
}

#[test]
fn missing_frames_are_named() {
    let text = two("", &source(30, ""), &source(30, ""), "identity name=i !");
    let drop = |n: u64, _: &mut gst::Buffer| match n {
        7 | 12 | 13 | 29 => gst::PadProbeReturn::Drop,
        _ => gst::PadProbeReturn::Ok,
    };
    let pipeline = build(&text);
    probe(&pipeline, "i", drop);
    let out = run(&pipeline).ok();
    use FaultKind::{Length, Missing};
    assert_eq!(
        out.faults(),
        [
            (Missing, 7, 1),
            (Missing, 12, 2),
            (Missing, 29, 1),
            (Length, 26, 4)
        ]
    );
    let pad = out.pad();
    assert_eq!((pad.frames, pad.faults.missing, pad.identical), (26, 4, 26));

    let pipeline = build(&text);
    pipeline.by_name("q").unwrap().set_property("strict", true);
    probe(&pipeline, "i", drop);
    let out = run(&pipeline);
    assert!(
        out.error().contains("frame 7 of the reference"),
        "{}",
        out.error()
    );
}

#[test]
fn extra_frames_and_lengths_are_named() {
    let out = play(&two("", &source(20, ""), &source(23, ""), "")).ok();
    use FaultKind::{Extra, Length, Missing};
    assert_eq!(out.faults(), [(Extra, 20, 3), (Length, 20, 3)]);
    let out = play(&two("", &source(23, ""), &source(20, ""), "")).ok();
    assert_eq!(out.faults(), [(Missing, 20, 3), (Length, 20, 3)]);
    let out = play(&two("pairing=count", &source(23, ""), &source(20, ""), "")).ok();
    assert_eq!(out.pad().frames, 20);
    assert_eq!(out.faults(), [(Missing, 20, 3), (Length, 20, 3)]);
}

#[test]
fn repeated_pictures_and_times_are_named() {
    let last = std::sync::Mutex::new(None::<gst::Buffer>);
    let pipeline = build(&two(
        "",
        &source(20, ""),
        &source(20, ""),
        "identity name=i !",
    ));
    probe(&pipeline, "i", move |n, buffer| {
        // Frames 5 and 6 show frame 4 again.
        let mut last = last.lock().unwrap();
        if n == 5 || n == 6 {
            let (pts, duration) = (buffer.pts(), buffer.duration());
            let mut copy = last.as_ref().unwrap().copy_deep().unwrap();
            let copy_mut = copy.get_mut().unwrap();
            copy_mut.set_pts(pts);
            copy_mut.set_duration(duration);
            *buffer = copy;
        } else {
            *last = Some(buffer.clone());
        }
        gst::PadProbeReturn::Ok
    });
    let out = run(&pipeline).ok();
    assert_eq!(out.faults(), [(FaultKind::Repeated, 5, 2)]);
    assert_eq!(out.pad().frames, 20);

    // Frame 9 has the time of frame 8, so that frame 9 of the reference has none.
    let pipeline = build(&two(
        "",
        &source(20, ""),
        &source(20, ""),
        "identity name=i !",
    ));
    probe(&pipeline, "i", |n, buffer| {
        if n == 9 {
            let pts = buffer.pts().unwrap() - gst::ClockTime::from_mseconds(40);
            buffer.make_mut().set_pts(pts);
        }
        gst::PadProbeReturn::Ok
    });
    let out = run(&pipeline).ok();
    assert_eq!(
        out.faults(),
        [(FaultKind::Repeated, 9, 1), (FaultKind::Missing, 9, 1)]
    );
}

#[test]
fn late_frames_are_named() {
    let shift = |ms: i64, sink: &str| {
        let pipeline = build(&two(
            sink,
            &source(10, ""),
            &source(10, ""),
            "identity name=i !",
        ));
        probe(&pipeline, "i", move |n, buffer| {
            if (3..5).contains(&n) {
                let pts = buffer.pts().unwrap().nseconds() as i64 + ms * 1_000_000;
                buffer
                    .make_mut()
                    .set_pts(gst::ClockTime::from_nseconds(pts as u64));
            }
            gst::PadProbeReturn::Ok
        });
        run(&pipeline).ok()
    };
    assert_eq!(shift(10, "").faults(), [(FaultKind::Late, 3, 2)]);
    assert_eq!(shift(-10, "").faults(), [(FaultKind::Early, 3, 2)]);
    assert!(shift(2, "").faults().is_empty(), "what containers round");
    assert!(shift(10, "pairing=count").faults().is_empty());
    let strict = shift(10, "tolerance=5000000").faults();
    assert!(strict.contains(&(FaultKind::Missing, 3, 1)), "{strict:?}");
}

/// Frames as they lie in a file: no parser, no times, a segment in bytes.
#[test]
fn raw_frames_without_times_are_paired_by_count() {
    let dir = tempfile::tempdir().unwrap();
    let size = 96 * 64;
    for (name, seed) in [("a", 0u32), ("b", 1)] {
        let frames: Vec<u8> = (0..5 * size)
            .map(|i| (i as u32 * 7 % 200 + seed * (i as u32 / size as u32)) as u8)
            .collect();
        std::fs::write(dir.path().join(name), frames).unwrap();
    }
    let raw = |pairing: &str| {
        let file = |name: &str, pad: &str| {
            format!(
                "filesrc location={}/{name} blocksize={size} ! \
                 video/x-raw,format=GRAY8,width=96,height=64,framerate=25/1 ! q.{pad} ",
                dir.path().display()
            )
        };
        play(&format!(
            "psnrsink name=q metrics=psnr message-per-frame=true pairing={pairing} {}{}",
            file("a", "reference"),
            file("b", "distorted")
        ))
    };
    let out = raw("count").ok();
    assert!(out.faults().is_empty());
    let psnr = |frame: &Frame| frame.scores[0].1;
    let found: Vec<f64> = out.frames().iter().map(psnr).collect();
    let expected = |by: f64| 20.0 * (255.0 / by).log10();
    assert_eq!((found.len(), found[0]), (5, 100.0));
    for (i, value) in found.iter().enumerate().skip(1) {
        assert!((value - expected(i as f64)).abs() < 1e-9, "{found:?}");
    }
    let error = raw("time");
    assert!(error.error().contains("pairing=count"), "{}", error.error());
}

#[test]
fn another_frame_rate_is_named() {
    let half = source(10, "").replace("25/1", "25/2");
    let out = play(&two("", &source(20, ""), &half, "")).ok();
    let faults = out.faults();
    assert_eq!(faults[0], (FaultKind::FrameRate, 0, 1));
    assert_eq!(out.pad().frames, 10);
    assert_eq!(out.pad().faults.missing, 10);
}

#[test]
fn a_limit_that_is_not_kept_is_an_error() {
    let blur = "videobalance brightness=0.2 ! ";
    let fail = |sink: &str| play(&two(sink, &source(10, ""), &source(10, ""), blur));
    let out = fail("fail-under=psnr-y=50,ssim=0.1");
    let error = out.error();
    assert!(
        error.contains("psnr-y (mean) is ") && error.contains("under the limit 50"),
        "{error}"
    );
    assert!(!error.contains("ssim"), "{error}");
    assert_eq!(out.pad().frames, 10, "the summary comes all the same");
    fail("fail-under=psnr-y=5,ssim.min=0.1").ok();
    let out = fail("metrics=temporal fail-over=warp-error=0");
    assert!(
        out.error().contains("warp-error (mean) is "),
        "{}",
        out.error()
    );
}

#[test]
fn wrong_settings_are_errors_before_the_first_frame() {
    for (sink, text) in [
        ("metrics=psnr,nice", "there is no metric \"nice\""),
        ("fail-under=vmaf=80", "vmaf is not measured"),
        ("metrics=vmaf vmaf-model=v9", "v9"),
        ("log=/no/such/folder/log.csv", "/no/such/folder/log.csv"),
    ] {
        let out = play(&two(sink, &source(5, ""), &source(5, ""), ""));
        assert!(out.error().contains(text), "{}", out.error());
        assert!(out.messages.iter().all(|m| Frame::parse(m).is_none()));
    }
}

#[test]
fn sizes_and_formats_that_do_not_go_together() {
    let small = source(5, "").replace("width=96,height=64", "width=48,height=32");
    let out = play(&two("", &source(5, ""), &small, ""));
    assert!(
        out.error()
            .contains("reference is 96x64, distorted is 48x32"),
        "{}",
        out.error()
    );
    let bicubic = play(&two("scale=bicubic", &source(5, ""), &small, ""))
        .ok()
        .pad();
    let lanczos = play(&two("scale=lanczos", &source(5, ""), &small, ""))
        .ok()
        .pad();
    assert_ne!(bicubic.metric("psnr-y"), lanczos.metric("psnr-y"));
    let ten = source(5, "").replace("I420", "I420_10LE");
    let out = play(&two("", &source(5, ""), &ten, ""));
    assert!(
        out.error().contains("distorted is I420_10LE"),
        "{}",
        out.error()
    );
    let nv12 = play(&two(
        "",
        &source(5, ""),
        &source(5, "").replace("I420", "NV12"),
        "",
    ));
    assert_eq!(nv12.ok().pad().identical, 5, "packing does not matter");
}

#[test]
fn every_format_goes_in() {
    for format in [
        "I420",
        "YV12",
        "NV12",
        "NV21",
        "Y42B",
        "Y444",
        "I420_10LE",
        "I422_10LE",
        "Y444_10LE",
        "P010_10LE",
        "GRAY8",
    ] {
        let s = source(3, "").replace("I420", format);
        let out = play(&two("metrics=psnr,ssim,vmaf,temporal", &s, &s, "")).ok();
        assert_eq!(out.pad().identical, 3, "{format}");
        assert_eq!(out.pad().metric("psnr-u").is_some(), format != "GRAY8");
    }
}

#[test]
fn several_distorted_pads_share_the_reference() {
    let out = play(&format!(
        "{} ! tee name=t psnrsink name=q metrics=psnr,ssim message-per-frame=true \
         t. ! queue ! q.reference t. ! queue ! q.distorted_0 \
         t. ! queue ! videobalance brightness=0.1 ! q.distorted_1 \
         t. ! queue ! videobalance brightness=0.3 ! q.distorted_7",
        source(25, "")
    ))
    .ok();
    let summary = out.summary();
    let names: Vec<_> = summary.pads.iter().map(|p| p.pad.as_str()).collect();
    assert_eq!(names, ["distorted_0", "distorted_1", "distorted_7"]);
    let psnr = |pad: &str| summary.pad(pad).unwrap().metric("psnr-y").unwrap().mean;
    assert_eq!(psnr("distorted_0"), 100.0);
    assert!(psnr("distorted_0") > psnr("distorted_1"));
    assert!(psnr("distorted_1") > psnr("distorted_7") + 5.0);
    assert!(
        summary
            .pads
            .iter()
            .all(|p| p.frames == 25 && p.faults.none())
    );
    for name in names {
        let numbers: Vec<_> = out
            .frames()
            .iter()
            .filter(|f| f.pad == name)
            .map(|f| f.frame)
            .collect();
        assert_eq!(numbers, (0..25).collect::<Vec<_>>(), "{name}");
    }
    let out = play(&format!(
        "{} ! tee name=t psnrsink name=q fail-under=psnr-y=40 t. ! queue ! q.reference \
         t. ! queue ! q.distorted_0 t. ! queue ! videobalance brightness=0.3 ! q.distorted_1",
        source(5, "")
    ));
    assert!(
        out.error().contains("distorted_1: psnr-y"),
        "{}",
        out.error()
    );
    assert!(!out.error().contains("distorted_0"));
}

#[test]
fn the_log_and_the_messages_agree() {
    let dir = tempfile::tempdir().unwrap();
    for (format, separator) in [("csv", ','), ("ndjson", '}')] {
        let path = dir.path().join(format!("log.{format}"));
        let sink = format!(
            "metrics=psnr,vmaf,temporal message-per-frame=true log={} log-format={format}",
            path.display()
        );
        let blur = "videobalance contrast=0.9 ! ";
        let out = play(&two(&sink, &source(12, ""), &source(12, ""), blur)).ok();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().filter(|l| !l.starts_with("pad,")).collect();
        let frames = out.frames();
        assert_eq!((lines.len(), frames.len()), (12, 12));
        for (line, frame) in lines.iter().zip(&frames) {
            assert!(line.contains(separator));
            let value = format!("{:.6}", frame.score("vmaf").unwrap());
            assert!(line.contains(&value), "{line} {value}");
            assert!(line.contains(&frame.running_time.unwrap().nseconds().to_string()));
        }
        assert_eq!(frames[0].score("temporal-noise"), None);
        let mean = frames
            .iter()
            .map(|f| f.score("psnr-y").unwrap())
            .sum::<f64>()
            / 12.0;
        assert!((out.pad().metric("psnr-y").unwrap().mean - mean).abs() < 1e-9);
    }
    // A stream that breaks off leaves no log, and nothing else either.
    let path = dir.path().join("broken.csv");
    let small = source(5, "").replace("width=96", "width=48");
    let sink = format!("log={}", path.display());
    play(&two(&sink, &source(5, ""), &small, "")).error();
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn stopping_in_mid_stream_and_starting_again() {
    let pipeline = build(&two(
        "metrics=psnr,vmaf",
        &source(100_000, ""),
        &source(100_000, ""),
        "",
    ));
    for _ in 0..3 {
        pipeline.set_state(gst::State::Playing).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        pipeline.set_state(gst::State::Null).unwrap();
    }
    let pipeline = build(&two("", &source(10, ""), &source(10, ""), ""));
    for _ in 0..2 {
        assert_eq!(run(&pipeline).ok().pad().frames, 10);
        let q = pipeline.by_name("q").unwrap();
        let summary = q.property::<Option<gst::Structure>>("summary").unwrap();
        assert_eq!(
            Summary::from_structure(&summary).unwrap().pads[0].frames,
            10
        );
    }
}

#[test]
fn eos_comes_once_to_who_stays_in_playing() {
    let pipeline = build(&two("", &source(5, ""), &source(5, ""), ""));
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let begun = std::time::Instant::now();
    let mut ends = 0;
    // Longer than it takes the element to ask its bin again.
    while begun.elapsed() < Duration::from_millis(1800) {
        let message = bus.timed_pop(gst::ClockTime::from_mseconds(100));
        ends += message
            .iter()
            .filter(|m| m.type_() == gst::MessageType::Eos)
            .count();
    }
    assert_eq!(ends, 1);
    let (result, state, _) = pipeline.state(gst::ClockTime::from_seconds(5));
    assert!(result.is_ok() && state == gst::State::Playing);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn nothing_is_measured_while_paused() {
    let pipeline = build(&two(
        "message-per-frame=true",
        &source(10, ""),
        &source(10, ""),
        "",
    ));
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    let (result, ..) = pipeline.state(gst::ClockTime::from_seconds(10));
    result.unwrap();
    while let Some(m) = bus.timed_pop(gst::ClockTime::from_mseconds(100)) {
        assert!(Frame::parse(&m).is_none());
    }
    assert_eq!(run(&pipeline).ok().frames().len(), 10);
}

#[test]
fn a_seek_before_the_measurement_is_followed() {
    let Some(clip) = data("video/carphone_qcif.mp4") else {
        return;
    };
    let file = |pad: &str| {
        format!(
            "filesrc location={} ! decodebin ! queue ! q.{pad} ",
            clip.display()
        )
    };
    let pipeline = build(&format!(
        "psnrsink name=q message-per-frame=true {}{}",
        file("reference"),
        file("distorted")
    ));
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.state(gst::ClockTime::from_seconds(10)).0.unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
    pipeline
        .seek_simple(flags, gst::ClockTime::from_seconds(1))
        .unwrap();
    let out = run(&pipeline).ok();
    let frames = out.frames();
    assert!(!frames.is_empty() && frames.iter().all(|f| f.identical));
    assert_eq!(frames[0].running_time, Some(gst::ClockTime::ZERO));
}

/// The known answer of libvmaf's own tests, through the element.
#[test]
fn known_answer_in_10_bit() {
    let Some(dir) = data("images/vmaf_pairs") else {
        return;
    };
    let file = |name: &str, pad: &str| {
        format!(
            "filesrc location={}/{name}_576x324.yuv420p10le.yuv ! rawvideoparse \
             format=i420-10le width=576 height=324 framerate=24/1 ! queue ! q.{pad} ",
            dir.display()
        )
    };
    let out = play(&format!(
        "psnrsink name=q metrics=psnr,ssim,float-ssim,ms-ssim,vmaf fail-under=vmaf=82.5 {}{}",
        file("src01_hrc00", "reference"),
        file("src01_hrc01", "distorted")
    ))
    .ok();
    let pad = out.pad();
    let mean = |name: &str| pad.metric(name).unwrap().mean;
    for (name, expected) in [
        // What libvmaf's own tool gives; docs/quality.md says what became of Netflix's last digits.
        ("vmaf", 82.564227),
        ("psnr-y", 32.571452),
        ("float-ssim", 0.897863),
        ("ms-ssim", 0.974749),
    ] {
        assert!(
            (mean(name) - expected).abs() < 1e-6,
            "{name} {}",
            mean(name)
        );
    }
}
