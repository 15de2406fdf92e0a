//! The element in real pipelines, with the shipped models and the real ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{str::FromStr, sync::Once};

use gst::prelude::*;
use gst_check::Harness;
use gstneural_pixels::PixelFormat;
use gstnnupscale::nnupscale::{FallbackEvent, Stats};

const MODEL: &str = "luma-x2-fast-clean";

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstnnupscale::plugin_register_static().unwrap();
    });
}

fn harness(properties: &str, caps: &str) -> Harness {
    init();
    let mut h = Harness::new_parse(&format!("nnupscale model={MODEL} {properties}"));
    h.set_src_caps_str(caps);
    h
}

fn i420(w: u32, h: u32) -> String {
    format!("video/x-raw,format=I420,width={w},height={h},framerate=25/1")
}

/// A frame of a moving ramp, or of a still one.
fn buffer(info: &gst_video::VideoInfo, index: u64, moving: bool) -> gst::Buffer {
    let shift = if moving { index as usize * 3 } else { 0 };
    let data: Vec<u8> = (0..info.size())
        .map(|i| ((i + shift) % 200 + 20) as u8)
        .collect();
    let mut b = gst::Buffer::from_mut_slice(data);
    {
        let b = b.get_mut().unwrap();
        b.set_pts(gst::ClockTime::from_mseconds(40 * index));
        b.set_duration(gst::ClockTime::from_mseconds(40));
    }
    b
}

fn info(caps: &str) -> gst_video::VideoInfo {
    init();
    gst_video::VideoInfo::from_caps(&gst::Caps::from_str(caps).unwrap()).unwrap()
}

/// Runs a pipeline to its end; gives its messages, or the text of the error.
fn play(description: &str) -> Result<Vec<gst::Message>, String> {
    init();
    let pipeline = gst::parse::launch(description)
        .map_err(|e| e.to_string())?
        .downcast::<gst::Pipeline>()
        .unwrap();
    let bus = pipeline.bus().unwrap();
    let text = |m: &gst::message::Error| format!("{} ({:?})", m.error(), m.debug());
    let mut messages = Vec::new();
    let started = pipeline.set_state(gst::State::Playing);
    let result = loop {
        let Some(m) = bus.timed_pop(gst::ClockTime::from_seconds(60)) else {
            break Err("no end after 60 s".to_owned());
        };
        match m.view() {
            gst::MessageView::Error(e) => break Err(text(e)),
            gst::MessageView::Eos(_) => break Ok(()),
            _ => messages.push(m),
        }
    };
    pipeline.set_state(gst::State::Null).unwrap();
    result?;
    started.map_err(|e| e.to_string())?;
    Ok(messages)
}

fn stats(messages: &[gst::Message]) -> Stats {
    messages
        .iter()
        .filter_map(|m| Stats::parse(m))
        .next_back()
        .expect("a nnupscale-stats message")
}

#[test]
fn every_format_goes_through() {
    for format in PixelFormat::ALL {
        let name = format.info().name;
        let caps = format!("video/x-raw,format={name},width=37,height=23,framerate=25/1");
        let mut h = harness("", &caps);
        let info = info(&caps);
        for i in 0..3 {
            let out = h
                .push_and_pull(buffer(&info, i, true))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(
                out.pts(),
                Some(gst::ClockTime::from_mseconds(40 * i)),
                "{name}"
            );
            assert_eq!(
                out.duration(),
                Some(gst::ClockTime::from_mseconds(40)),
                "{name}"
            );
        }
        let caps = h.sinkpad().unwrap().current_caps().unwrap();
        let out = gst_video::VideoInfo::from_caps(&caps).unwrap();
        assert_eq!(
            (out.width(), out.height(), out.format().to_str().as_str()),
            (74, 46, name)
        );
    }
}

#[test]
fn batches_are_drained_at_the_end() {
    let caps = i420(32, 24);
    let mut h = harness("batch-size=4", &caps);
    let info = info(&caps);
    for i in 0..10 {
        h.push(buffer(&info, i, true)).unwrap();
    }
    assert_eq!(h.buffers_in_queue(), 8);
    h.push_event(gst::event::Eos::new());
    let mut got = Vec::new();
    while let Some(b) = h.try_pull() {
        got.push(b.pts().unwrap().mseconds() / 40);
    }
    assert_eq!(got, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_caps_change_loses_nothing() {
    let mut h = harness("batch-size=4", &i420(32, 24));
    let first = info(&i420(32, 24));
    for i in 0..6 {
        h.push(buffer(&first, i, true)).unwrap();
    }
    h.set_src_caps_str(&i420(20, 20));
    let second = info(&i420(20, 20));
    for i in 6..11 {
        h.push(buffer(&second, i, true)).unwrap();
    }
    h.push_event(gst::event::Eos::new());
    let sizes: Vec<usize> = std::iter::from_fn(|| h.try_pull())
        .map(|b| b.size())
        .collect();
    let size = |w, h| info(&i420(w, h)).size();
    let expected: Vec<usize> = [vec![size(64, 48); 6], vec![size(40, 40); 5]].concat();
    assert_eq!(sizes, expected);
}

#[test]
fn a_flush_starts_anew() {
    let caps = i420(32, 24);
    let mut h = harness("batch-size=4", &caps);
    let info = info(&caps);
    for i in 0..3 {
        h.push(buffer(&info, i, true)).unwrap();
    }
    h.push_event(gst::event::FlushStart::new());
    h.push_event(gst::event::FlushStop::new(true));
    h.push_event(gst::event::Segment::new(&gst::FormattedSegment::<
        gst::ClockTime,
    >::new()));
    for i in 10..14 {
        h.push(buffer(&info, i, true)).unwrap();
    }
    let got: Vec<u64> = std::iter::from_fn(|| h.try_pull())
        .map(|b| b.pts().unwrap().mseconds() / 40)
        .collect();
    assert_eq!(got, [10, 11, 12, 13]);
}

#[test]
fn latency_is_what_is_held_back() {
    let caps = i420(32, 24);
    for (properties, expected) in [
        ("", 0),
        ("batch-size=4", 120),
        ("qos-mode=fallback", 120),
        ("qos-mode=fallback deadline=50000000", 50),
    ] {
        let mut h = harness(properties, &caps);
        h.set_upstream_latency(gst::ClockTime::from_mseconds(7));
        h.push(buffer(&info(&caps), 0, true)).unwrap();
        assert_eq!(
            h.query_latency(),
            Some(gst::ClockTime::from_mseconds(7 + expected)),
            "{properties}"
        );
    }
}

#[test]
fn still_pictures_are_not_computed_again() {
    let caps = i420(160, 96);
    let info = info(&caps);
    for (moving, properties, tiled, reused) in [
        (false, "", false, true),
        (true, "", false, false),
        (false, "tile=32", true, true),
        (false, "stabilize=1.0", false, false),
    ] {
        let mut h = harness(properties, &caps);
        let mut outputs = Vec::new();
        for i in 0..10 {
            let b = h.push_and_pull(buffer(&info, i, moving)).unwrap();
            outputs.push(b.map_readable().unwrap().to_vec());
        }
        let stats = h
            .find_element("nnupscale")
            .unwrap()
            .property::<gst::Structure>("stats");
        let stats = Stats::from_structure(&stats).unwrap();
        let case = format!("moving={moving} {properties}: {stats:?}");
        assert_eq!(stats.frames, 10, "{case}");
        assert_eq!(stats.tiles > 10, tiled, "{case}");
        let expected = if reused { stats.tiles * 9 / 10 } else { 0 };
        assert_eq!(stats.tiles_reused, expected, "{case}");
        if reused {
            assert!(outputs.iter().all(|o| o == &outputs[0]));
        }
    }
}

#[test]
fn overload_falls_back_and_loses_no_frame() {
    // No machine upscales 640x360 in the 1 ms that these frames last.
    let messages = play(&format!(
        "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate=1000/1 ! \
         nnupscale model={MODEL} qos-mode=fallback deadline=1000000 threads=1 ! fakesink sync=false"
    ))
    .unwrap();
    let stats = stats(&messages);
    assert_eq!(stats.frames, 60);
    assert!(stats.fallback_frames > 20, "{stats:?}");
    let event = messages
        .iter()
        .find_map(|m| FallbackEvent::parse(m))
        .expect("a message");
    assert!(event.active && event.running_time.is_some());
}

/// A source's frames through one element whose properties change on the way.
fn changed_on_the_way(properties: &str, change: impl Fn(&gst::Element, u64)) -> Vec<Vec<u8>> {
    let caps = i420(160, 96);
    let info = info(&caps);
    let mut h = harness(properties, &caps);
    let element = h.find_element("nnupscale").unwrap();
    (0..30)
        .map(|i| {
            change(&element, i);
            let b = h.push_and_pull(buffer(&info, i, true)).unwrap();
            b.map_readable().unwrap().to_vec()
        })
        .collect()
}

#[test]
fn the_split_moves_while_it_runs() {
    let network = changed_on_the_way("", |_, _| {});
    let classical = changed_on_the_way("strength=0.0", |_, _| {});
    let moved = changed_on_the_way("compare=split split-pos=0.0", |element, i| {
        let at = if (10..20).contains(&i) { 1.0 } else { 0.0 };
        element.set_property("split-pos", at);
    });
    for (i, frame) in moved.iter().enumerate() {
        let expected = if (10..20).contains(&i) {
            &classical
        } else {
            &network
        };
        // The line where it divides is drawn over the last columns.
        let equal = frame
            .iter()
            .zip(&expected[i])
            .filter(|(a, b)| a == b)
            .count();
        assert!(
            equal * 100 >= frame.len() * 97,
            "frame {i}: {equal} of {}",
            frame.len()
        );
    }
}

#[test]
fn a_forced_fallback_comes_and_goes() {
    let network = changed_on_the_way("", |_, _| {});
    let classical = changed_on_the_way("strength=0.0", |_, _| {});
    let forced = |properties| {
        changed_on_the_way(properties, |element, i| {
            element.set_property("force-fallback", (5..12).contains(&i));
        })
    };
    let hard = forced("");
    for (i, frame) in hard.iter().enumerate() {
        let expected = if (5..12).contains(&i) {
            &classical
        } else {
            &network
        };
        assert!(frame == &expected[i], "frame {i}");
    }
    // An hour of deadline: nothing but the property can be the reason.
    let soft = forced("qos-mode=fallback deadline=3600000000000");
    assert!(soft[4] == network[4] && soft[11] == classical[11]);
    assert!(soft[6] != network[6] && soft[6] != classical[6], "a ramp");
}

#[test]
fn drop_mode_drops_and_counts() {
    let messages = play(&format!(
        "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate=1000/1 ! \
         nnupscale model={MODEL} qos-mode=drop deadline=1000000 threads=1 ! fakesink sync=false"
    ))
    .unwrap();
    let stats = stats(&messages);
    assert_eq!(stats.frames + stats.dropped_frames, 60);
    assert!(
        stats.dropped_frames > 20 && stats.fallback_frames == 0,
        "{stats:?}"
    );
}

#[test]
fn options_of_the_picture_work_in_every_format() {
    init();
    for format in ["I420", "NV12", "P010_10LE", "RGBA", "BGRx", "GRAY8", "Y444"] {
        for (properties, width) in [
            ("strength=0.5", 96),
            ("stabilize=0.8", 96),
            ("compare=split split-pos=0.3", 96),
            ("compare=side", 192),
            ("compare=split compare-model=luma-x2-clean", 96),
            ("alpha=drop", 96),
            ("mode=rgb", 96),
            ("fallback-filter=lanczos strength=0.0", 96),
        ] {
            let messages = play(&format!(
                "videotestsrc num-buffers=4 ! video/x-raw,format={format},width=48,height=32 ! \
                 nnupscale model={MODEL} {properties} ! video/x-raw,width={width},height=64 ! fakesink"
            ))
            .unwrap_or_else(|e| panic!("{format} {properties}: {e}"));
            assert_eq!(stats(&messages).frames, 4, "{format} {properties}");
        }
    }
}

#[test]
fn strength_zero_is_the_classical_upscale_of_a_flat_picture_too() {
    let caps = i420(32, 24);
    let info = info(&caps);
    let mut h = harness("strength=0.0", &caps);
    let mut flat = gst::Buffer::from_mut_slice(vec![77u8; info.size()]);
    flat.get_mut().unwrap().set_pts(gst::ClockTime::ZERO);
    let out = h.push_and_pull(flat).unwrap();
    assert!(out.map_readable().unwrap().iter().all(|v| *v == 77));
}

#[test]
fn colour_is_pinned_across_the_hd_border() {
    init();
    let mut h = harness("", &i420(640, 360));
    h.push(buffer(&info(&i420(640, 360)), 0, true)).unwrap();
    let caps = h.sinkpad().unwrap().current_caps().unwrap();
    let s = caps.structure(0).unwrap();
    assert_eq!(s.get::<&str>("colorimetry").unwrap(), "bt601");
    assert_eq!(
        s.get::<&str>("chroma-site").unwrap(),
        "jpeg",
        "GStreamer's default for SD"
    );
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let run = |properties: &str, width: u32| {
        play(&format!(
            "videotestsrc num-buffers=1 ! video/x-raw,format=I420,width={width},height=48 ! nnupscale {properties} ! fakesink"
        ))
        .unwrap_err()
    };
    for (properties, width, say) in [
        ("model=no-such-model", 64, "no-such-model"),
        ("model=/nowhere/x.onnx", 64, "/nowhere/x.onnx"),
        (&*format!("model={MODEL} device=cuda"), 64, "device=cpu"),
        (
            &*format!("model={MODEL} device=tensorrt"),
            64,
            "onnxruntime-gpu",
        ),
        (&*format!("model={MODEL} precision=fp16"), 64, "precision"),
    ] {
        let e = run(properties, width);
        assert!(e.contains(say), "{properties}: {e}");
    }
    // 20000 pixels times two are more than a frame may have.
    let e = run(&format!("model={MODEL}"), 20000);
    assert!(
        e.to_lowercase().contains("negotiat") || e.contains("link"),
        "{e}"
    );
}

#[test]
fn seeking_in_a_real_pipeline() {
    init();
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers=200 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 ! \
         nnupscale model={MODEL} batch-size=3 name=n ! fakesink name=s sync=true"
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.state(gst::ClockTime::from_seconds(20)).0.unwrap();
    for i in 0..20u64 {
        pipeline
            .seek_simple(
                gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
                gst::ClockTime::from_mseconds((i * 313) % 5000),
            )
            .unwrap();
        pipeline.state(gst::ClockTime::from_seconds(20)).0.unwrap();
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn starting_and_stopping_many_times() {
    init();
    let element = gst::ElementFactory::make("nnupscale")
        .property("model", MODEL)
        .build()
        .unwrap();
    for _ in 0..5 {
        element.set_state(gst::State::Paused).unwrap();
        assert_eq!(element.property::<u32>("scale"), 2);
        element.set_state(gst::State::Null).unwrap();
        assert_eq!(element.property::<u32>("scale"), 0);
    }
}

#[test]
fn padded_buffers_of_a_decoder_are_read_by_their_strides() {
    let caps = i420(32, 24);
    let info = info(&caps);
    let mut h = harness("", &caps);
    let plain = buffer(&info, 0, true);
    let expected = h.push_and_pull(plain.clone()).unwrap();
    // The same picture with 48 bytes a row and rows of junk between the planes.
    let source = plain.map_readable().unwrap();
    let mut data = vec![255u8; 48 * 30 + 2 * 48 * 20];
    let offsets = [0usize, 48 * 30, 48 * 50];
    for (plane, (w, rows)) in [(32usize, 24usize), (16, 12), (16, 12)]
        .into_iter()
        .enumerate()
    {
        for y in 0..rows {
            let from = info.offset()[plane] + y * info.stride()[plane] as usize;
            data[offsets[plane] + y * 48..][..w].copy_from_slice(&source[from..from + w]);
        }
    }
    let mut padded = gst::Buffer::from_mut_slice(data);
    {
        let b = padded.get_mut().unwrap();
        b.set_pts(gst::ClockTime::from_mseconds(40));
        gst_video::VideoMeta::add_full(
            b,
            gst_video::VideoFrameFlags::empty(),
            gst_video::VideoFormat::I420,
            32,
            24,
            &offsets,
            &[48, 48, 48],
        )
        .unwrap();
    }
    let out = h.push_and_pull(padded).unwrap();
    assert_eq!(
        out.map_readable().unwrap().as_slice(),
        expected.map_readable().unwrap().as_slice()
    );
}

#[test]
fn a_fallback_that_is_forced_before_the_start_holds_from_the_first_frame_on() {
    for (qos, most) in [("off", 0), ("fallback", 6)] {
        let messages = play(&format!(
            "videotestsrc num-buffers=20 ! {} ! nnupscale model={MODEL} qos-mode={qos} force-fallback=true ! fakesink",
            i420(32, 32)
        ))
        .unwrap();
        let stats = stats(&messages);
        assert_eq!(stats.frames, 20);
        // With qos-mode=fallback a ramp comes first.
        assert!(stats.fallback_frames + most >= 20, "{qos}: {stats:?}");
    }
}
