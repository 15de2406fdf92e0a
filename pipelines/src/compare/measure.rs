//! Measuring the streams of a pipeline with one `psnrsink`.

use super::Subject;
use super::graph::{Streams, fail};
use crate::failure::{Exit, Failure, make};
use crate::plugins;
use crate::report::{Progress, Reporter};
use gst::prelude::*;
use gstneural_metrics::Pooled;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How `psnrsink` is set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to measure, with commas.
    pub metrics: String,
    /// Models of VMAF, with commas.
    pub vmaf_model: String,
    /// The ONNX file for `lpips` and `net-distance`.
    pub lpips_model: Option<PathBuf>,
    /// Threads for each candidate, 0 = all cores.
    pub threads: u32,
    /// `off`, `bicubic` or `lanczos`.
    pub scale: String,
    /// `time` or `count`.
    pub pairing: String,
    /// How far apart the times of a pair may be; `None` = half a frame.
    pub tolerance: Option<Duration>,
    /// Faults in pairing are errors.
    pub strict: bool,
    /// Keep every frame's values, not only the pooled ones.
    pub frames: bool,
    /// Give up when nothing moves for so long.
    pub stall: Duration,
    /// Frames that each stream may be ahead of another; 0 = the sink's default.
    pub max_queue: u32,
}

/// Bytes of frames that may wait in the sink.
const WAITING_BYTES: u64 = 192 << 20;

impl Settings {
    /// With queues that do not take up all memory for large frames. Only for streams that come from
    /// threads of their own: the branches of a tee may need more.
    pub(crate) fn bounded(&self, reference: &Subject, streams: usize) -> Self {
        let frame = reference
            .caps
            .as_ref()
            .and_then(|c| gst_video::VideoInfo::from_caps(c).ok())
            .map_or(1, |info| info.size().max(1)) as u64;
        let frames = WAITING_BYTES / frame / streams.max(1) as u64;
        Self {
            max_queue: u32::try_from(frames).unwrap_or(u32::MAX).clamp(4, 32),
            ..self.clone()
        }
    }
}

/// The scores of a pair of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number of the reference's frame.
    pub frame: u64,
    /// Number of the candidate's frame.
    pub distorted_frame: u64,
    /// Running time of the reference's frame.
    pub time_ns: Option<u64>,
    /// Values in the order of [`Measured::columns`].
    pub values: Vec<Option<f64>>,
}

/// What was wrong with a candidate's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Faults {
    /// Frames of the reference without a counterpart.
    pub missing: u64,
    /// Frames without a counterpart in the reference.
    pub extra: u64,
    /// Frames that repeat the one before.
    pub repeated: u64,
    /// Frames that come late or early, within the tolerance.
    pub late: u64,
}

/// A candidate's result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// Columns in `psnrsink`'s order.
    pub columns: Vec<String>,
    /// Pairs measured.
    pub frames: u64,
    /// Pairs without any difference.
    pub identical: u64,
    /// What was wrong with the frames.
    pub faults: Faults,
    /// The faults in words, the first ones of them.
    pub fault_texts: Vec<String>,
    /// How many faults there were in all.
    pub fault_count: u64,
    /// Pooled values in the order of the columns.
    pub pooled: Vec<Pooled>,
    /// Each pair, where asked for.
    pub rows: Vec<Row>,
}

impl Measured {
    /// A column pooled.
    pub fn column(&self, name: &str) -> Option<&Pooled> {
        self.columns
            .iter()
            .position(|c| c == name)
            .and_then(|i| self.pooled.get(i))
    }
}

/// What a stream is expected to have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// Frames.
    pub frames: Option<u64>,
    /// Frames a second.
    pub rate: Option<f64>,
}

const FAULTS_SHOWN: usize = 5;

/// Measures all candidates of `streams`.
pub fn measure(
    streams: &Streams,
    settings: &Settings,
    expected: Expected,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Vec<Measured>, Failure> {
    let sink = sink(settings)?;
    streams.pipeline.add(&sink).map_err(fail)?;
    let mut collector = Collector::default();
    for (i, output) in streams.outputs.iter().enumerate() {
        let pad = match i.checked_sub(1) {
            None => request(&sink, "reference")?,
            Some(i) => collector.add(&sink, i)?,
        };
        output.link(&pad).map_err(fail)?;
    }
    drive(
        streams,
        settings.stall,
        expected,
        interrupts,
        reporter,
        |message| collector.take(message),
        || false,
    )?;
    collector.results()
}

/// Makes `psnrsink`.
pub(crate) fn sink(settings: &Settings) -> Result<gst::Element, Failure> {
    plugins::ensure_psnrsink()?;
    let sink = make("psnrsink")?;
    sink.set_property("metrics", &settings.metrics);
    if !settings.vmaf_model.is_empty() {
        sink.set_property("vmaf-model", &settings.vmaf_model);
    }
    if let Some(file) = &settings.lpips_model {
        sink.set_property("lpips-model", file.to_string_lossy().as_ref());
    }
    sink.set_property("threads", settings.threads.min(64));
    sink.set_property_from_str("scale", &settings.scale);
    sink.set_property_from_str("pairing", &settings.pairing);
    if let Some(tolerance) = settings.tolerance {
        let ns = i64::try_from(tolerance.as_nanos()).unwrap_or(i64::MAX);
        sink.set_property("tolerance", ns);
    }
    if settings.max_queue > 0 {
        sink.set_property("max-queue", settings.max_queue);
    }
    sink.set_property("strict", settings.strict);
    sink.set_property("message-per-frame", settings.frames);
    Ok(sink)
}

/// A pad of `psnrsink`.
pub(crate) fn request(sink: &gst::Element, name: &str) -> Result<gst::Pad, Failure> {
    sink.request_pad_simple(name)
        .ok_or_else(|| fail(format!("psnrsink gives no pad {name}")))
}

/// Runs the pipeline to its end, or until `enough` says so.
pub(crate) fn drive(
    streams: &Streams,
    stall: Duration,
    expected: Expected,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
    mut take: impl FnMut(&gst::MessageRef),
    enough: impl Fn() -> bool,
) -> Result<(), Failure> {
    let bus = streams
        .pipeline
        .bus()
        .ok_or_else(|| fail("a pipeline without a bus"))?;
    let began = Instant::now();
    let started = streams.pipeline.set_state(gst::State::Playing);
    let mut activity = (streams.activity(), Instant::now());
    let mut told = Instant::now();
    let result = loop {
        let message = bus.timed_pop_filtered(
            gst::ClockTime::from_mseconds(50),
            &[
                gst::MessageType::Error,
                gst::MessageType::Eos,
                gst::MessageType::Element,
            ],
        );
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => break Ok(()),
            Some(gst::MessageView::Error(e)) => {
                let failure = Failure::from_gst(e);
                break Err(match streams.input_of(e.src()) {
                    Some(name) => Failure {
                        what: format!("{name}: {}", failure.what),
                        ..failure
                    },
                    None => failure,
                });
            }
            Some(gst::MessageView::Element(e)) => take(e.message()),
            None if started.is_err() => break Err(Failure::new("the pipeline does not start")),
            _ => {}
        }
        if enough() {
            break Ok(());
        }
        if interrupts.load(Ordering::SeqCst) > 0 {
            break Err(Failure {
                exit: Exit::Interrupted,
                ..Failure::new("interrupted; nothing was written")
            });
        }
        let now = streams.activity();
        if now != activity.0 {
            activity = (now, Instant::now());
        } else if activity.1.elapsed() > stall {
            break Err(Failure::new(format!(
                "nothing moved for {} s (at frame {}); given up",
                stall.as_secs(),
                streams.slowest()
            ))
            .hint("--stall-timeout sets how long to wait"));
        }
        if told.elapsed() > Duration::from_millis(200) {
            told = Instant::now();
            let frames = streams.slowest();
            let wall = began.elapsed().as_secs_f64();
            let fps = frames as f64 / wall;
            let total = expected.frames;
            let part = total
                .filter(|t| *t > 0)
                .map(|t| (frames as f64 / t as f64).min(1.0));
            reporter.progress(&Progress {
                frames,
                frames_total: total.filter(|t| *t >= frames),
                position_s: expected.rate.map_or(0.0, |r| frames as f64 / r),
                fps,
                speed: expected.rate.map_or(0.0, |r| fps / r),
                eta_s: total
                    .filter(|_| fps > 0.0)
                    .map(|t| t.saturating_sub(frames) as f64 / fps),
                part,
            });
        }
    };
    let _ = streams.pipeline.set_state(gst::State::Null);
    result
}

/// Puts the messages of `psnrsink` together.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pads: Vec<String>,
    results: Vec<Measured>,
    complete: bool,
}

impl Collector {
    /// Asks `sink` for the pad of the next candidate, whose number is `index`.
    pub(crate) fn add(&mut self, sink: &gst::Element, index: usize) -> Result<gst::Pad, Failure> {
        let pad = request(sink, &format!("distorted_{index}"))?;
        self.pads.push(pad.name().to_string());
        self.results.push(Measured::default());
        Ok(pad)
    }

    /// A result for each candidate; there are some once the sink has posted its summary.
    pub(crate) fn results(&mut self) -> Result<Vec<Measured>, Failure> {
        if !self.complete {
            return Err(Failure::new("psnrsink ended without a summary"));
        }
        Ok(std::mem::take(&mut self.results))
    }

    fn of(&mut self, s: &gst::StructureRef) -> Option<&mut Measured> {
        let name = s.get::<&str>("pad").ok()?;
        let index = self.pads.iter().position(|p| p == name)?;
        self.results.get_mut(index)
    }

    /// Takes a message, if it is one of `psnrsink`'s.
    pub(crate) fn take(&mut self, message: &gst::MessageRef) {
        let Some(s) = message.structure() else { return };
        let _ = match s.name().as_str() {
            "psnrsink-frame" => self.frame(s),
            "psnrsink-fault" => self.fault(s),
            "psnrsink-summary" => self.summary(s),
            _ => None,
        };
    }

    fn frame(&mut self, s: &gst::StructureRef) -> Option<()> {
        let result = self.of(s)?;
        let mut row = Row {
            frame: s.get("frame").ok()?,
            distorted_frame: s.get("distorted-frame").ok()?,
            time_ns: s.get("running-time").ok(),
            values: vec![None; result.columns.len()],
        };
        for (name, value) in s.iter() {
            let Ok(value) = value.get::<f64>() else {
                continue;
            };
            match result.columns.iter().position(|c| c == name.as_str()) {
                Some(i) => row.values[i] = Some(value),
                None => {
                    result.columns.push(name.to_string());
                    row.values.push(Some(value));
                }
            }
        }
        result.rows.push(row);
        Some(())
    }

    fn fault(&mut self, s: &gst::StructureRef) -> Option<()> {
        let text = s.get::<String>("text").ok()?;
        // The candidate's name goes where the pad's stands.
        let pad = s.get::<String>("pad").ok()?;
        let text = match text.strip_prefix(&format!("{pad}: ")) {
            Some(rest) => rest.to_string(),
            None => text,
        };
        let result = self.of(s)?;
        result.fault_count += 1;
        if result.fault_texts.len() < FAULTS_SHOWN {
            result.fault_texts.push(text);
        }
        Some(())
    }

    fn summary(&mut self, s: &gst::StructureRef) -> Option<()> {
        for value in s.get::<gst::Array>("pads").ok()?.iter() {
            let pad = value.get::<gst::Structure>().ok()?;
            let result = self.of(&pad)?;
            result.frames = pad.get("frames").ok()?;
            result.identical = pad.get("identical").ok()?;
            result.faults = Faults {
                missing: pad.get("missing").ok()?,
                extra: pad.get("extra").ok()?,
                repeated: pad.get("repeated").ok()?,
                late: pad.get("late").ok()?,
            };
            let mut columns = Vec::new();
            for metric in pad.get::<gst::Array>("metrics").ok()?.iter() {
                let m = metric.get::<gst::Structure>().ok()?;
                columns.push(m.get::<String>("name").ok()?);
                result.pooled.push(Pooled {
                    frames: m.get("frames").ok()?,
                    mean: m.get("mean").ok()?,
                    harmonic_mean: m.get("harmonic-mean").ok()?,
                    min: m.get("min").ok()?,
                    max: m.get("max").ok()?,
                    p1: m.get("p1").ok()?,
                    p5: m.get("p5").ok()?,
                    of_mean_mse: m.get("of-mean-mse").ok(),
                });
            }
            // The frames' values in the summary's order.
            let order: Vec<Option<usize>> = columns
                .iter()
                .map(|name| result.columns.iter().position(|c| c == name))
                .collect();
            for row in &mut result.rows {
                row.values = order
                    .iter()
                    .map(|i| i.and_then(|i| row.values.get(i).copied().flatten()))
                    .collect();
            }
            result.rows.sort_by_key(|r| (r.frame, r.distorted_frame));
            result.columns = columns;
        }
        self.complete = true;
        Some(())
    }
}
