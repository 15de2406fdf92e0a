//! Networks against each other: the reference is shrunk, upscaled by each, and compared with itself.
//!
//! All of it is one graph: the reference is decoded and shrunk once.

use super::graph::{Input, Streams, add_chain, fail, frame_queue, pad};
use super::{Job, Options, Outputs, PlannedLimits, Subject, compare, distinct_names};
use crate::failure::{Exit, Failure, make};
use crate::parts;
use crate::plugins;
use crate::report::Reporter;
use gst::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// What is special to this comparison.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names or files.
    pub models: Vec<String>,
    /// `videoscale`'s method to shrink with.
    pub downscale: String,
    /// Where names are looked up.
    pub model_dir: Option<String>,
    /// Where the networks run.
    pub device: Option<String>,
}

const BASELINE: &str = "bicubic";

/// Runs the comparison.
pub fn run(
    options: &Options,
    settings: &Settings,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Exit, Failure> {
    let outputs = Outputs::create(options)?;
    let limits = PlannedLimits::of(options)?;
    plugins::ensure_nnupscale()?;
    let mut scale = 0;
    for model in &settings.models {
        let of_it = scale_of(model, settings)?;
        if scale != 0 && of_it != scale {
            return Err(Failure::usage(format!(
                "--upscale: {} scales by {scale}, {model} by {of_it}; compare networks of one scale",
                settings.models[0]
            )));
        }
        scale = of_it;
    }
    let timeout = Duration::from_secs(30).min(options.settings.stall);
    let (mut reference, _) = Subject::probe(&options.reference, timeout)?;
    let original = (reference.width, reference.height);
    // Both sizes even, so that chroma planes shrink by the same factor.
    let multiple = 2 * scale;
    let whole = (
        original.0 - original.0 % multiple,
        original.1 - original.1 % multiple,
    );
    let small = (whole.0 / scale, whole.1 / scale);
    if small.0 < 16 || small.1 < 16 {
        return Err(Failure::new(format!(
            "{}: {}x{} is too small to be shrunk {scale} times",
            options.reference, original.0, original.1
        )));
    }
    (reference.width, reference.height) = whole;
    let mut candidates: Vec<Subject> = settings
        .models
        .iter()
        .map(String::as_str)
        .chain([BASELINE])
        .map(|model| Subject {
            name: Path::new(model)
                .file_stem()
                .filter(|_| model.ends_with(".onnx"))
                .map_or_else(|| model.into(), |s| s.to_string_lossy().into_owned()),
            input: model.into(),
            codec: format!("\u{d7}{scale} from {}\u{d7}{}", small.0, small.1),
            bytes: None,
            bitrate_bps: None,
            ..reference.clone()
        })
        .collect();
    distinct_names(&mut candidates);
    let mut facts = vec![
        (
            "Shrunk".into(),
            format!(
                "to {}\u{d7}{} by GStreamer's videoscale, method {}",
                small.0, small.1, settings.downscale
            ),
        ),
        (
            "Baseline".into(),
            format!("{BASELINE}: videoscale, method catrom (Keys' cubic, a = \u{2212}0.5)"),
        ),
    ];
    if whole != original {
        facts.push((
            "Cropped".into(),
            format!(
                "the reference is measured without the last {} columns and {} rows",
                original.0 - whole.0,
                original.1 - whole.1
            ),
        ));
    }
    let job = Job {
        reference,
        candidates,
        streams: &|| streams(&options.reference, settings, original, whole, small),
        facts,
    };
    compare(&job, options, &limits, outputs, interrupts, reporter).map(|(exit, _)| exit)
}

fn upscaler(model: &str, settings: &Settings) -> Result<gst::Element, Failure> {
    // The folder first: it decides what the name means.
    let properties = [
        ("model-dir", settings.model_dir.as_deref()),
        ("model", Some(model)),
        ("device", settings.device.as_deref()),
    ];
    parts::upscaler(
        properties
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    )
}

/// Loads a model to learn its scale.
fn scale_of(model: &str, settings: &Settings) -> Result<u32, Failure> {
    match parts::scale_of(&upscaler(model, settings)?)? {
        0 | 1 => Err(Failure::new(format!("{model}: does not upscale"))),
        scale => Ok(scale),
    }
}

fn size_filter(size: (u32, u32)) -> Result<gst::Element, Failure> {
    let filter = make("capsfilter")?;
    let side = |v: u32| i32::try_from(v).unwrap_or(i32::MAX);
    let caps = gst::Caps::builder("video/x-raw")
        .field("width", side(size.0))
        .field("height", side(size.1))
        .build();
    filter.set_property("caps", caps);
    Ok(filter)
}

fn scaler(method: &str) -> Result<gst::Element, Failure> {
    let scaler = make("videoscale")?;
    scaler.set_property_from_str("method", method);
    scaler.set_property("add-borders", false);
    Ok(scaler)
}

/// Frames that a branch may be behind another, for networks that look at several frames.
const SLACK: u32 = 32;

fn streams(
    reference: &str,
    settings: &Settings,
    original: (u32, u32),
    whole: (u32, u32),
    small: (u32, u32),
) -> Result<Streams, Failure> {
    let mut streams = Streams::new();
    let input = Input::plain(reference);
    let decoded = streams.add_file(0, &input)?;
    let bin = streams.pipeline.clone().upcast::<gst::Bin>();
    let crop = make("videocrop")?;
    let side = |v: u32| i32::try_from(v).unwrap_or(0);
    crop.set_property("right", side(original.0 - whole.0));
    crop.set_property("bottom", side(original.1 - whole.1));
    let full = make("tee")?;
    add_chain(&bin, &[crop.clone(), full.clone()])?;
    decoded.link(&pad(&crop, "sink")?).map_err(fail)?;

    let straight = frame_queue(SLACK)?;
    bin.add(&straight).map_err(fail)?;
    full.link(&straight).map_err(fail)?;
    streams.add_output(pad(&straight, "src")?);

    let shrunk = make("tee")?;
    let chain = [
        frame_queue(SLACK)?,
        scaler(&settings.downscale)?,
        size_filter(small)?,
        shrunk.clone(),
    ];
    add_chain(&bin, &chain)?;
    full.link(&chain[0]).map_err(fail)?;
    for model in &settings.models {
        let chain = [
            frame_queue(SLACK)?,
            upscaler(model, settings)?,
            frame_queue(SLACK)?,
        ];
        add_chain(&bin, &chain)?;
        shrunk.link(&chain[0]).map_err(fail)?;
        streams.add_output(pad(&chain[2], "src")?);
    }
    let chain = [
        frame_queue(SLACK)?,
        scaler("catrom")?,
        size_filter(whole)?,
        frame_queue(SLACK)?,
    ];
    add_chain(&bin, &chain)?;
    shrunk.link(&chain[0]).map_err(fail)?;
    streams.add_output(pad(&chain[3], "src")?);
    Ok(streams)
}
