//! `upscale --measure`: what comes out of the upscaler against a ground truth.
//!
//! [`Truth`] is the ground truth as it was found, [`Branch`] the part of the upscaling graph that
//! decodes it beside the input, cuts it to the same interval, and measures the frames in front of
//! the encoder against it. What was encoded is measured in a second pass, where that is asked for.

use crate::compare::graph::{
    Input, Streams, add_chain, converter, decoded, fail, frame_queue, pad,
};
use crate::compare::measure::{self, Collector, Measured};
use crate::compare::{self, Outcome, PlannedLimits, Subject, table};
use crate::deinterlace;
use crate::failure::Failure;
use crate::job::Options;
use crate::parts::flip;
use crate::plan::{Note, Rotation};
use crate::probe::{ColourSource, Source};
use crate::report::Reporter;
use crate::run;
use crate::timing::{self, Control, Cut, Track};
use gst::prelude::*;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the command line says of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path or URI of what the result should look like.
    pub input: String,
    /// What to measure, with commas.
    pub metrics: String,
    /// Models of VMAF, with commas.
    pub vmaf_model: String,
    /// The ONNX file for `lpips` and `net-distance`.
    pub lpips_model: Option<std::path::PathBuf>,
    /// `time` or `count`.
    pub pairing: String,
    /// How far apart the times of a pair may be; `None` = half a frame.
    pub tolerance: Option<Duration>,
    /// The limits on what should be more.
    pub fail_under: Option<String>,
    /// The limits on what should be less.
    pub fail_over: Option<String>,
    /// Measure what was encoded, too.
    pub encoded: bool,
}

/// A ground truth, looked at.
#[derive(Debug)]
pub(crate) struct Truth {
    subject: Subject,
    source: Source,
    limits: PlannedLimits,
    measuring: measure::Settings,
    encoded: bool,
    deinterlace: bool,
}

/// How many frames the branch of the result may be ahead of the ground truth's.
const SLACK: u32 = 8;

impl Truth {
    /// Looks at it; a wrong metric or limit is found here, too.
    pub fn open(settings: &Settings, options: &Options) -> Result<Self, Failure> {
        let (threads, stall) = (options.threads, options.stall);
        let measuring = measure::Settings {
            metrics: settings.metrics.clone(),
            vmaf_model: settings.vmaf_model.clone(),
            lpips_model: settings.lpips_model.clone(),
            threads,
            scale: "off".into(),
            pairing: settings.pairing.clone(),
            tolerance: settings.tolerance,
            strict: false,
            frames: false,
            stall,
            max_queue: 0,
        };
        let limits = PlannedLimits::read(
            &measuring,
            settings.fail_under.as_deref(),
            settings.fail_over.as_deref(),
        )?;
        let timeout = Duration::from_secs(30).min(stall);
        let (subject, source) = Subject::probe(&settings.input, timeout)?;
        Ok(Self {
            measuring: measuring.bounded(&subject, 2),
            subject,
            source,
            limits,
            encoded: settings.encoded,
            deinterlace: options.deinterlace,
        })
    }

    /// What has to be done to the result's pixels and to the ground truth's so that both are upright;
    /// nothing where both are turned in the same way.
    fn turns(&self, rotation: &Rotation) -> (Option<String>, Option<String>) {
        let of_result = match rotation {
            Rotation::Tag(o) => Some(o.clone()),
            Rotation::None | Rotation::Pixels(_) => None,
        };
        if of_result == self.source.orientation {
            return (None, None);
        }
        (of_result, self.source.orientation.clone())
    }

    /// The sizes must be equal: a scaled ground truth is none.
    pub fn check_size(&self, output: (u32, u32), rotation: &Rotation) -> Result<(), Failure> {
        let turned = |size: (u32, u32), turn: &Option<String>| match turn {
            Some(o) if o.contains("90") || o.contains("270") => (size.1, size.0),
            _ => size,
        };
        let (of_result, of_truth) = self.turns(rotation);
        let result = turned(output, &of_result);
        let truth = turned((self.subject.width, self.subject.height), &of_truth);
        if result == truth {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "--measure {}: the ground truth is {}x{}, the result would be {}x{}",
            self.subject.input, truth.0, truth.1, result.0, result.1
        ))
        .hint(if result == (truth.1, truth.0) {
            "one of them lacks a tag of its orientation".to_string()
        } else {
            format!(
                "take a ground truth of the result's size, or --size {}x{}",
                truth.0, truth.1
            )
        }))
    }

    /// What makes the figures questionable.
    pub fn notes(&self, source: &Source) -> Vec<Note> {
        let ours = source
            .colorimetry()
            .filter(|_| source.colour != ColourSource::Nobody);
        let theirs = self.subject.colorimetry.as_deref();
        if compare::same_colours(ours.as_deref(), theirs) {
            return Vec::new();
        }
        vec![Note {
            code: "colours-differ",
            text: format!(
                "the ground truth's samples mean other colours ({}) than the input's ({}): the figures say little",
                theirs.unwrap_or_default(),
                ours.unwrap_or_default()
            ),
        }]
    }

    /// Cuts the decoded ground truth that `raw` gives as `control` says; gives the pad that the cut
    /// stream comes out of and the pad at which it can be ended.
    fn cut(
        &self,
        bin: &gst::Bin,
        raw: &gst::Pad,
        turn: Option<&str>,
        control: &Arc<Control>,
    ) -> Result<(gst::Pad, gst::Pad), Failure> {
        let mut chain = vec![frame_queue(SLACK)?];
        if self.deinterlace {
            chain.extend(deinterlace::chain(&self.source.decoded)?);
        }
        if let Some(orientation) = turn {
            chain.push(flip(orientation)?);
        }
        add_chain(bin, &chain)?;
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
            return Err(fail("an empty chain"));
        };
        let entry = pad(first, "sink")?;
        timing::install(&entry, control, &Arc::new(Track::default()), Cut::Video);
        raw.link(&entry).map_err(fail)?;
        Ok((pad(last, "src")?, entry))
    }

    /// The format that both are measured in: the ground truth's.
    fn format(&self) -> &str {
        &self.subject.format
    }

    fn input(&self) -> Input {
        Input::plain(&self.subject.input)
    }
}

/// The measuring part of an upscaling graph.
#[derive(Debug)]
pub(crate) struct Branch {
    collector: Mutex<Collector>,
    bin: gst::Bin,
    raw: gst::Pad,
    entry: gst::Pad,
    block: Mutex<Option<gst::PadProbeId>>,
    ready: Arc<AtomicBool>,
    control: Arc<Control>,
    broken: Mutex<Option<Failure>>,
}

impl Branch {
    /// Adds it to `pipeline`; `tee` gives the frames of the result.
    pub fn build(
        pipeline: &gst::Pipeline,
        truth: &Truth,
        tee: &gst::Element,
        rotation: &Rotation,
        control: &Control,
    ) -> Result<Self, Failure> {
        let all = pipeline.upcast_ref::<gst::Bin>();
        let (turn_result, turn_truth) = truth.turns(rotation);
        let control = control.beside();

        let (bin, raw) = decoded("ground-truth", &truth.input())?;
        pipeline.add(&bin).map_err(fail)?;
        let ready = Arc::new(AtomicBool::new(false));
        let flowing = Arc::clone(&ready);
        // It waits until the input is ready and it is known where to begin.
        let block = raw.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, move |_, _| {
            flowing.store(true, Ordering::SeqCst);
            gst::PadProbeReturn::Ok
        });
        let (reference, entry) = truth.cut(all, &raw, turn_truth.as_deref(), &control)?;

        let mut chain = vec![frame_queue(SLACK)?];
        if let Some(orientation) = &turn_result {
            chain.push(flip(orientation)?);
        }
        chain.extend(converter(truth.format())?);
        add_chain(all, &chain)?;
        let sink = measure::sink(&truth.measuring)?;
        pipeline.add(&sink).map_err(fail)?;
        let mut collector = Collector::default();
        reference
            .link(&measure::request(&sink, "reference")?)
            .map_err(fail)?;
        let distorted = collector.add(&sink, 0)?;
        if let (Some(first), Some(last)) = (chain.first(), chain.last()) {
            tee.link(first).map_err(fail)?;
            pad(last, "src")?.link(&distorted).map_err(fail)?;
        }
        Ok(Self {
            collector: Mutex::new(collector),
            bin,
            raw,
            entry,
            block: Mutex::new(block),
            ready,
            control,
            broken: Mutex::new(None),
        })
    }

    /// Whether its first frame is there.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst) || self.has_broken()
    }

    /// Seeks if asked to, and lets the frames flow.
    pub fn connect(&self, start_ns: Option<u64>) {
        timing::seek(&self.raw, start_ns, &self.control);
        let block = self
            .block
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(id) = block {
            self.raw.remove_probe(id);
        }
    }

    /// Whether `object` belongs to the ground truth.
    pub fn holds(&self, object: &gst::Object) -> bool {
        object == self.bin.upcast_ref::<gst::Object>() || object.has_as_ancestor(&self.bin)
    }

    /// The ground truth cannot be read any further: what was measured until here counts.
    pub fn breaks(&self, failure: Failure) {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failure);
        let entry = self.entry.clone();
        // From a thread of its own: the pad may be busy.
        std::thread::spawn(move || entry.send_event(gst::event::Eos::new()));
    }

    fn has_broken(&self) -> bool {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Takes a message of the sink.
    pub fn take(&self, message: &gst::MessageRef) {
        self.collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(message);
    }

    /// Length of the ground truth that was decoded.
    pub fn reached_ns(&self) -> u64 {
        self.control.video_end_ns.load(Ordering::SeqCst)
    }

    /// What was measured of the frames in front of the encoder.
    pub fn measured(&self) -> Result<Measured, Failure> {
        if let Some(failure) = &*self.broken.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(failure.clone());
        }
        self.collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .results()?
            .into_iter()
            .next()
            .filter(|m| m.frames > 0)
            .ok_or_else(|| {
                Failure::new("not one frame of the result pairs with the ground truth's")
                    .hint("--pairing count pairs them by number")
            })
    }
}

/// What is measured, and of what.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    pub truth: &'a Truth,
    /// What was measured in the graph.
    pub measured: Result<Measured, Failure>,
    /// What was done to the orientation.
    pub rotation: &'a Rotation,
    /// Size of the result.
    pub size: (u32, u32),
    /// How much of the ground truth was decoded.
    pub reached_ns: u64,
    /// Whether the upscaling came to the end of the input.
    pub complete: bool,
    /// Length of the output.
    pub length_ns: u64,
}

impl Check<'_> {
    /// Tells the result; whether everything could be measured and all limits are kept.
    pub fn tell(
        self,
        options: &Options,
        interrupts: &Arc<AtomicUsize>,
        reporter: &mut Reporter,
    ) -> bool {
        let truth = self.truth;
        let mut wanted = vec![("upscaled", self.measured.clone())];
        if truth.encoded && self.measured.is_ok() {
            reporter.begin("measuring what was encoded");
            wanted.push(("encoded", self.encoded(options, interrupts, reporter)));
            reporter.end();
        }
        let mut good = true;
        if let Some(stated_ns) = self.cut_off(options) {
            good = false;
            reporter.warning(
                "ground-truth-broken",
                &format!(
                    "{} ends after {:.3} s, though there should be {:.3} s: measured as far as that",
                    truth.subject.input,
                    self.reached_ns as f64 / 1e9,
                    stated_ns as f64 / 1e9
                ),
            );
        }
        let (mut candidates, mut measured) = (Vec::new(), Vec::new());
        for (name, result) in wanted {
            match result {
                Ok(m) => {
                    // A job that was cut short has no frames for the rest of the ground truth.
                    if self.complete {
                        compare::tell_faults(name, &m, reporter);
                    }
                    candidates.push(Subject {
                        name: name.into(),
                        input: options.output.display().to_string(),
                        width: self.size.0,
                        height: self.size.1,
                        format: truth.subject.format.clone(),
                        codec: String::new(),
                        frame_rate: truth.subject.frame_rate,
                        duration_s: Some(self.length_ns as f64 / 1e9),
                        orientation: None,
                        interlaced: false,
                        caps: None,
                        colorimetry: None,
                        bytes: None,
                        bitrate_bps: None,
                    });
                    measured.push(m);
                }
                Err(failure) => {
                    good = false;
                    reporter.warning(
                        "not-measured",
                        &format!("{name} against {}: {failure}", truth.subject.input),
                    );
                }
            }
        }
        let outcome = truth.limits.outcome(&candidates, measured);
        self.print(&candidates, &outcome, reporter);
        good && outcome.keeps_limits()
    }

    /// What the ground truth should have been long, where it ended before that and before the result.
    fn cut_off(&self, options: &Options) -> Option<u64> {
        let stated_ns = self.truth.source.duration?.nseconds();
        let start_ns = options.start.map_or(0, |s| s.as_nanos() as u64);
        let expected = stated_ns.saturating_sub(start_ns).min(self.length_ns);
        let short = self.reached_ns + run::tolerance_ns(expected) < expected;
        (short && self.complete && self.measured.is_ok()).then_some(expected)
    }

    fn print(&self, candidates: &[Subject], outcome: &Outcome, reporter: &mut Reporter) {
        if reporter.is_json() {
            reporter.event(
                "measured",
                &json!({
                    "ground_truth": self.truth.subject,
                    "candidates": table::values(candidates, &outcome.measured),
                    "limits": outcome.verdicts,
                }),
            );
        } else if !candidates.is_empty() {
            reporter.end();
            compare::print(&table::text(candidates, outcome));
        }
    }

    /// Measures the finished file.
    fn encoded(
        &self,
        options: &Options,
        interrupts: &Arc<AtomicUsize>,
        reporter: &mut Reporter,
    ) -> Result<Measured, Failure> {
        let truth = self.truth;
        let (turn_result, turn_truth) = truth.turns(self.rotation);
        let control = Control::new(Some(self.length_ns));
        let start_ns = options.start.map_or(0, |s| s.as_nanos() as u64);
        control.begin_ns.store(start_ns, Ordering::SeqCst);

        let mut streams = Streams::new();
        let all = streams.pipeline.clone().upcast::<gst::Bin>();
        let raw = streams.add_file(0, &truth.input())?;
        let (reference, _) = truth.cut(&all, &raw, turn_truth.as_deref(), &control)?;
        streams.add_output(reference);
        let output = streams.add_file(
            1,
            &Input {
                convert_to: Some(truth.format().to_string()),
                ..Input::plain(options.output.to_string_lossy())
            },
        )?;
        match turn_result {
            None => streams.add_output(output),
            Some(orientation) => {
                let turn = flip(&orientation)?;
                all.add(&turn).map_err(fail)?;
                output.link(&pad(&turn, "sink")?).map_err(fail)?;
                streams.add_output(pad(&turn, "src")?);
            }
        }
        measure::measure(
            &streams,
            &truth.measuring,
            truth.subject.expected(),
            interrupts,
            reporter,
        )?
        .into_iter()
        .next()
        .filter(|m| m.frames > 0)
        .ok_or_else(|| Failure::new("not one of its frames pairs with the ground truth's"))
    }
}
