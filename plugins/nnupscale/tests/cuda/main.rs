//! The element with frames in CUDA memory: between GStreamer's own `cudaupload` and `cudadownload`
//! here, between a source and a sink of the tests' own in `zero_copy.rs`.
//!
//! Without a GPU the tests run on the stand-in for the driver (plugins/core/cuda/fake):
//! `on_the_stand_in` starts them there. With a GPU: `cargo test --test cuda -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod elements;
mod zero_copy;

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex, Once},
};

use gst_video::prelude::*;
use gstnnupscale::nnupscale::Stats;

const MODEL: &str = "luma-x2-fast-clean";
const FRAMES: usize = 6;
/// Something that moves, in colours.
const SOURCE: &str = "videotestsrc pattern=ball background-color=0xff304080 num-buffers=6";

#[test]
fn on_the_stand_in() {
    let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/cuda/fake/build.sh");
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new(fake).arg(folder.path()).status().unwrap();
    assert!(built.success(), "the stand-in for the driver was not built");
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--test-threads=1"])
        .env("LD_LIBRARY_PATH", folder.path())
        // What elements there are depends on the driver that is found.
        .env("GST_REGISTRY", folder.path().join("registry.bin"))
        .env_remove("GSTNEURAL_CUDA")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{text}\n{errors}");
    assert!(!text.contains("running 0 tests"), "{text}");
}

#[test]
fn without_a_gpu_only_system_memory_is_offered() {
    init();
    if gstneural_cuda::available().is_ok() {
        eprintln!("there is a GPU here");
        return;
    }
    let factory = gst::ElementFactory::find("nnupscale").unwrap();
    for template in factory.static_pad_templates() {
        let caps = template.caps().to_string();
        assert!(!caps.contains("CUDA"), "{caps}");
    }
    let e = play(&format!(
        "{SOURCE} ! nnupscale model={MODEL} device=cuda ! fakesink"
    ))
    .unwrap_err();
    assert!(
        e.contains("device=cuda") && e.contains("device=auto"),
        "{e}"
    );
}

fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().unwrap();
        gstnnupscale::plugin_register_static().unwrap();
        elements::register();
    });
}

/// What a pipeline gave.
#[derive(Debug)]
struct Played {
    frames: Vec<Vec<u8>>,
    stats: Vec<Stats>,
    warnings: Vec<String>,
}

/// Runs a pipeline to its end; an appsink or testcudasink named `out` collects its frames.
fn play(description: &str) -> Result<Played, String> {
    play_from(&[], description)
}

/// As [`play`]; an appsrc named `in` gives `inputs`.
fn play_from(inputs: &[Vec<u8>], description: &str) -> Result<Played, String> {
    init();
    let pipeline = gst::parse::launch(description)
        .map_err(|e| e.to_string())?
        .downcast::<gst::Pipeline>()
        .unwrap();
    let frames = Arc::new(Mutex::new(Vec::new()));
    let out = pipeline.by_name("out");
    let on_device = out.and_downcast_ref::<elements::Sink>().cloned();
    if let Some(sink) = out.and_downcast::<gst_app::AppSink>() {
        sink.set_sync(false);
        let to = frames.clone();
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
                    let buffer = sample.buffer_owned().unwrap();
                    let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &info).unwrap();
                    to.lock().unwrap().push(samples(&frame));
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
    }
    if let Some(source) = pipeline.by_name("in") {
        let source = source.downcast::<gst_app::AppSrc>().unwrap();
        for (i, input) in inputs.iter().enumerate() {
            let mut buffer = gst::Buffer::from_slice(input.clone());
            let buffer_ref = buffer.make_mut();
            buffer_ref.set_pts(gst::ClockTime::from_mseconds(40) * i as u64);
            buffer_ref.set_duration(gst::ClockTime::from_mseconds(40));
            source.push_buffer(buffer).unwrap();
        }
        source.end_of_stream().unwrap();
    }
    let bus = pipeline.bus().unwrap();
    let (mut stats, mut warnings) = (Vec::new(), Vec::new());
    let _ = pipeline.set_state(gst::State::Playing);
    let result = loop {
        let Some(m) = bus.timed_pop(gst::ClockTime::from_seconds(60)) else {
            break Err("no end after 60 s".to_owned());
        };
        match m.view() {
            gst::MessageView::Error(e) => break Err(format!("{} ({:?})", e.error(), e.debug())),
            gst::MessageView::Warning(w) => warnings.push(w.error().to_string()),
            gst::MessageView::Eos(_) => break Ok(()),
            _ => stats.extend(Stats::parse(&m)),
        }
    };
    pipeline.set_state(gst::State::Null).unwrap();
    result?;
    let mut frames = std::mem::take(&mut *frames.lock().unwrap());
    frames.extend(on_device.map(|sink| sink.taken().0).unwrap_or_default());
    Ok(Played {
        frames,
        stats,
        warnings,
    })
}

/// The frame's samples without padding.
fn samples(frame: &gst_video::VideoFrame<gst_video::video_frame::Readable>) -> Vec<u8> {
    let mut out = Vec::new();
    for plane in 0..frame.n_planes() {
        let stride = frame.plane_stride()[plane as usize] as usize;
        let data = frame.plane_data(plane).unwrap();
        let info = frame.format_info();
        let component = (0..info.n_components())
            .find(|c| info.plane()[*c as usize] == plane)
            .unwrap();
        let row = frame.comp_width(component) as usize * frame.comp_pstride(component) as usize;
        for y in 0..frame.comp_height(component) as usize {
            out.extend(&data[y * stride..][..row]);
        }
    }
    out
}

fn source(format: &str) -> String {
    format!("{SOURCE} ! video/x-raw,format={format},width=64,height=36,framerate=25/1")
}

fn element(properties: &str) -> String {
    format!("nnupscale model={MODEL} {properties}")
}

const CUDA: &str = "video/x-raw(memory:CUDAMemory)";
/// Without the caps cudaupload would let frames pass that the next element takes as they are.
const UPLOAD: &str = "cudaupload ! video/x-raw(memory:CUDAMemory)";
const DOWNLOAD: &str = "video/x-raw(memory:CUDAMemory) ! cudadownload";

fn worst(a: &Played, b: &Played) -> u8 {
    assert_eq!((a.frames.len(), b.frames.len()), (FRAMES, FRAMES));
    let pairs = a.frames.iter().zip(&b.frames).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b)
    });
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

fn on_cpu(format: &str, properties: &str) -> Played {
    let cpu = element(&format!("device=cpu {properties}"));
    play(&format!("{} ! {cpu} ! appsink name=out", source(format))).unwrap()
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn frames_stay_in_cuda_memory() {
    for format in ["NV12", "P010_10LE", "RGBA", "BGRA"] {
        let found = play(&format!(
            "{} ! {UPLOAD} ! {} ! {DOWNLOAD} ! appsink name=out",
            source(format),
            element("precision=fp32")
        ))
        .unwrap();
        // P010 has ten bits at the upper end of two bytes: its lower bytes say little.
        let found_worst = worst(&found, &on_cpu(format, ""));
        assert!(
            format == "P010_10LE" || found_worst <= 1,
            "{format}: {found_worst}"
        );
        let [stats] = found.stats.as_slice() else {
            panic!("{:?}", found.stats)
        };
        assert_eq!(
            (stats.copies_to_device, stats.copies_to_host),
            (0, 0),
            "{stats:?}"
        );
        assert_eq!(
            (stats.device.as_str(), stats.frames),
            ("cuda", FRAMES as u64)
        );
        assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn any_mix_of_memories_negotiates() {
    let wanted = on_cpu("NV12", "");
    let (system, scaled) = ("video/x-raw,format=NV12", "width=128,height=72");
    for (before, after, copies) in [
        ("identity", format!("{system},{scaled}"), (12, 12)),
        (UPLOAD, format!("{system},{scaled}"), (0, 12)),
        (
            "identity",
            format!("{CUDA},{scaled} ! cudadownload"),
            (12, 0),
        ),
        (UPLOAD, format!("{CUDA},{scaled} ! cudadownload"), (0, 0)),
    ] {
        let line = format!(
            "{} ! {before} ! {} ! {after} ! appsink name=out",
            source("NV12"),
            element("precision=fp32 device=cuda")
        );
        let found = play(&line).unwrap();
        assert!(worst(&found, &wanted) <= 1, "{line}");
        let stats = found.stats.last().unwrap();
        assert_eq!(
            (stats.copies_to_device, stats.copies_to_host),
            copies,
            "{line}"
        );
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn two_in_a_row_share_their_memory() {
    let both = format!("{0} ! {0}", element("precision=fp32"));
    let found = play(&format!(
        "{} ! {UPLOAD} ! {both} ! {CUDA},width=256 ! cudadownload ! appsink name=out",
        source("NV12")
    ))
    .unwrap();
    assert_eq!(found.frames.len(), FRAMES);
    assert_eq!(found.stats.len(), 2);
    for stats in &found.stats {
        assert_eq!(
            (stats.copies_to_device, stats.copies_to_host),
            (0, 0),
            "{stats:?}"
        );
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn views_and_fallback_work_in_cuda_memory() {
    for properties in [
        "strength=0.5",
        "stabilize=0.7",
        "compare=split",
        "compare=side",
        "tile=24 batch-size=3",
        "force-fallback=true",
    ] {
        let found = play(&format!(
            "{} ! {UPLOAD} ! {} ! {DOWNLOAD} ! appsink name=out",
            source("NV12"),
            element(&format!("precision=fp32 {properties}"))
        ))
        .unwrap();
        let found_worst = worst(&found, &on_cpu("NV12", properties));
        assert!(found_worst <= 1, "{properties}: {found_worst}");
        let stats = found.stats.last().unwrap();
        assert_eq!(
            (stats.copies_to_device, stats.copies_to_host),
            (0, 0),
            "{properties}"
        );
    }
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn another_size_in_mid_stream_is_taken() {
    let part = |w: u32| {
        format!(
            "videotestsrc num-buffers=3 ! video/x-raw,format=NV12,width={w},height=36,framerate=25/1 ! c."
        )
    };
    let found = play(&format!(
        "concat name=c ! {UPLOAD} ! {} ! {DOWNLOAD} ! appsink name=out {} {}",
        element("precision=fp32"),
        part(64),
        part(48)
    ))
    .unwrap();
    let lengths: Vec<_> = found.frames.iter().map(Vec::len).collect();
    let of = |w: usize| w * 2 * 72 * 3 / 2;
    assert_eq!(lengths, [of(64), of(64), of(64), of(48), of(48), of(48)]);
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn what_cannot_be_is_said() {
    let line = |properties: &str| {
        let element = element(properties);
        format!("{} ! {element} ! appsink name=out", source("NV12"))
    };
    let e = play(&line("device=cuda device-id=77")).unwrap_err();
    assert!(e.contains("77"), "{e}");
    // With auto the CPU does it, and that is said once.
    let found = play(&line("device=auto device-id=77")).unwrap();
    assert_eq!(found.frames.len(), FRAMES);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    assert_eq!(found.stats.last().unwrap().device, "cpu");
}

#[test]
#[ignore = "started by on_the_stand_in, or on a GPU"]
fn a_slot_is_waited_for() {
    // Two at once with one slot: the second one's caps wait until the first one is through.
    let line = format!(
        "{0} ! {1} ! fakesink {0} ! {1} ! fakesink",
        source("NV12"),
        element("precision=fp32 gpu-slots=1 device=cuda")
    );
    // Both live in one pipeline, so the first never gives its slot back before the second has it.
    let e = play(&line).unwrap_err();
    assert!(e.contains("slot"), "{e}");
    let two = line.replace("gpu-slots=1", "gpu-slots=2");
    assert_eq!(play(&two).unwrap().stats.len(), 2);
}
