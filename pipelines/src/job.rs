//! A whole job of `upscale`, `encode` or `decode`: probe, plan, build, run, finish, report.

use crate::describe;
use crate::encoder::{Codec, Settings};
use crate::failure::{Exit, Failure};
use crate::graph::Graph;
use crate::ground_truth::{self, Check, Truth};
use crate::location::Output;
use crate::mp4;
use crate::plan::{self, Container, Rotation, Wishes};
use crate::probe;
use crate::report::{Done, Reporter, Start};
use crate::run::{Ending, run as drive};
use crate::timing::Control;
use crate::transport::{self, End};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is done to the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It becomes larger.
    Upscale,
    /// It is coded by our codec.
    Encode,
    /// It is coded by another codec.
    Decode,
}

impl Work {
    /// The command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upscale => "upscale",
            Self::Encode => "encode",
            Self::Decode => "decode",
        }
    }

    /// The encoder, where the user names none.
    fn codec(self, container: Container) -> Codec {
        match self {
            Self::Encode => Codec::Neural,
            // Nothing is lost where nothing has to be.
            Self::Decode if container == Container::Mkv => Codec::Ffv1,
            _ => Codec::default_for(container),
        }
    }
}

/// Everything that the command line of `upscale`, `encode` or `decode` says.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path or URI.
    pub input: String,
    /// Path or URI.
    pub output: PathBuf,
    /// Overwrite.
    pub force: bool,
    /// What is done.
    pub work: Work,
    /// Properties for `neuralenc`, as text.
    pub coding: Vec<(String, String)>,
    /// Properties for the `neuraldec` of an input that needs one, as text.
    pub decoding: Vec<(String, String)>,
    /// Properties for `nnupscale`, as text; none = there is none but in `upscale`.
    pub element: Vec<(String, String)>,
    /// Make progressive frames of interlaced ones.
    pub deinterlace: bool,
    /// Scale asked for, if any.
    pub scale: Option<u32>,
    /// Exact size asked for, if any.
    pub size: Option<(u32, u32)>,
    /// Encoder; `None` = the container's default. Its `codec` field is filled in later.
    pub codec: Option<Codec>,
    /// Quality.
    pub crf: Option<u32>,
    /// Bit rate.
    pub bitrate_bps: Option<u64>,
    /// Preset.
    pub preset: Option<String>,
    /// Threads of net and encoder.
    pub threads: u32,
    /// Where in the source to begin.
    pub start: Option<Duration>,
    /// How much of it to take.
    pub duration: Option<Duration>,
    /// Streams to leave out.
    pub wishes: Wishes,
    /// Give up when nothing moves for so long.
    pub stall: Duration,
    /// What to measure the result against.
    pub ground_truth: Option<ground_truth::Settings>,
}

impl Options {
    /// Nothing but the input, the output and what is done.
    pub fn new(work: Work, input: String, output: PathBuf) -> Self {
        Self {
            input,
            output,
            force: false,
            work,
            coding: Vec::new(),
            decoding: Vec::new(),
            element: Vec::new(),
            deinterlace: false,
            scale: None,
            size: None,
            codec: None,
            crf: None,
            bitrate_bps: None,
            preset: None,
            threads: 0,
            start: None,
            duration: None,
            wishes: Wishes::default(),
            stall: Duration::from_secs(120),
            ground_truth: None,
        }
    }
}

/// Whether an input that came to its end is one that was cut off without a trace but this.
fn cut_off(input: &str, reporter: &mut Reporter) -> Ending {
    match transport::end(input.as_ref()) {
        Ok(End::Cut) => Ending::Broken(Failure::new(
            "the transport stream ends in the middle of a packet",
        )),
        Ok(End::PerhapsCut) => {
            reporter.warning(
                "input-perhaps-cut",
                "the transport stream seems to end in the middle of a picture: it may have been cut off",
            );
            Ending::Complete
        }
        // What is no local file cannot be looked at.
        Ok(End::Whole) | Err(_) => Ending::Complete,
    }
}

/// Runs the job. `interrupts` counts the Ctrl-Cs.
pub fn run(
    options: &Options,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Exit, Failure> {
    let began = Instant::now();
    if options.duration.is_some_and(|d| d.is_zero()) {
        return Err(Failure::usage("--duration 0: nothing to do"));
    }
    let container = Container::of(&options.output)?;
    let codec = options
        .codec
        .unwrap_or_else(|| options.work.codec(container));
    let settings = Settings {
        codec,
        crf: options.crf,
        bitrate_bps: options.bitrate_bps,
        preset: options.preset.clone(),
        threads: options.threads,
        properties: options.coding.clone(),
    };
    settings.validate()?;
    // The cheap checks of the output come before the input is opened.
    let target = Output::create(&options.output, &options.input, options.force)?;
    if codec == Codec::Neural && !container.takes(codec) {
        return Err(Failure::usage(format!(
            "{}: video of this codec goes into .mkv alone: GStreamer's other muxers do not take it",
            options.output.display()
        )));
    }
    if !container.takes(codec) {
        crate::failure::make(container.muxer())?;
        let others: Vec<_> = [Codec::X264, Codec::X265, Codec::Av1, Codec::Vp9]
            .into_iter()
            .filter(|c| container.takes(*c))
            .map(Codec::name)
            .collect();
        return Err(Failure::usage(format!(
            "{} does not go into .{}; take --encoder {}",
            codec.name(),
            container.name(),
            others.join(" or ")
        )));
    }
    let source = probe::probe(&options.input, Duration::from_secs(30).min(options.stall))?;
    if let (Some(start), Some(length)) = (options.start, source.duration)
        && start.as_nanos() >= u128::from(length.nseconds())
    {
        return Err(Failure::usage(format!(
            "--start {:.3}: the input ends at {:.3} s",
            start.as_secs_f64(),
            length.nseconds() as f64 / 1e9
        )));
    }
    let truth = options
        .ground_truth
        .as_ref()
        .map(|s| Truth::open(s, options))
        .transpose()?;
    let plan = plan::plan(&source, container, options.wishes, target.path().is_some())?;
    let control = Control::new(options.duration.map(|d| d.as_nanos() as u64));
    let graph = Graph::build(
        options,
        &settings,
        &source,
        &plan,
        &control,
        &target,
        truth.as_ref(),
    )?;

    let rest = source.duration.map(|d| {
        d.nseconds()
            .saturating_sub(options.start.map_or(0, |s| s.as_nanos() as u64))
    });
    let expected_ns = match (rest, options.duration) {
        (Some(rest), Some(d)) => Some(rest.min(d.as_nanos() as u64)),
        (rest, d) => rest.or(d.map(|d| d.as_nanos() as u64)),
    };
    let frames = expected_ns.and_then(|ns| describe::frame_estimate(&source, ns));
    reporter.start(&Start {
        input: options.input.clone(),
        output: options.output.display().to_string(),
        width: graph.input.0,
        height: graph.input.1,
        out_width: graph.output.0,
        out_height: graph.output.1,
        model: graph.model(),
        encoder: codec.name(),
        container: container.name(),
        duration_s: expected_ns.map(|ns| ns as f64 / 1e9),
        frames,
        streams: describe::streams(&source, &plan, options.work),
    });
    for note in plan.notes.iter().chain(&graph.notes) {
        reporter.warning(note.code, &note.text);
    }

    let mut ending = drive(
        &graph,
        options,
        &control,
        expected_ns,
        frames,
        interrupts,
        reporter,
    )?;
    if matches!(ending, Ending::Complete) && options.duration.is_none() {
        ending = cut_off(&options.input, reporter);
    }
    let counts = graph.counts();
    let stats = graph.stats();
    let leads = graph.leads();
    let measured = graph.check().map(|c| (c.measured(), c.reached_ns()));
    let (out_size, model) = (graph.output, graph.model());
    drop(graph);

    if counts.frames_in == 0 || counts.frames_out == 0 {
        return Err(match ending {
            Ending::Broken(why) => why,
            Ending::Interrupted => Failure {
                exit: Exit::Interrupted,
                ..Failure::new("interrupted before the first frame; nothing was written")
            },
            Ending::Complete => {
                Failure::new(format!("{}: no frame in the part asked for", options.input))
            }
        });
    }
    if counts.frames_in != counts.frames_out {
        return Err(Failure::new(format!(
            "{} frames went in and {} came out; {}",
            counts.frames_in,
            counts.frames_out,
            target.fate()
        ))
        .hint("this is a fault of the program or of a plugin: please report it"));
    }
    if let Some(path) = target.path().filter(|_| plan.finished_in_place) {
        let orientation = match &plan.rotation {
            Rotation::Tag(o) => Some(o.as_str()),
            _ => None,
        };
        mp4::finish(path, orientation, &leads).map_err(|e| Failure::io("finishing", path, &e))?;
    }
    if interrupts.load(Ordering::SeqCst) > 1 && target.path().is_some() {
        return Err(Failure {
            exit: Exit::Interrupted,
            ..Failure::new("interrupted twice; nothing was written")
        });
    }
    let bytes = target.publish()?;
    let wall = began.elapsed().as_secs_f64();
    let damaged = if options.work == Work::Decode {
        counts.damaged
    } else {
        0
    };
    if damaged > 0 {
        reporter.warning(
            "damaged-frames",
            &format!(
                "{damaged} of {} frames are damaged in the input: they show what could be decoded",
                counts.frames_in
            ),
        );
    }
    let (mut exit, status) = match &ending {
        Ending::Complete if damaged > 0 => (Exit::Partial, "partial"),
        Ending::Complete => (Exit::Ok, "complete"),
        Ending::Broken(why) => {
            reporter.warning(
                "input-broken",
                &format!(
                    "the input breaks at {:.3} s: {}; {} frames were kept",
                    counts.reached_ns as f64 / 1e9,
                    why.what,
                    counts.frames_out
                ),
            );
            (Exit::Partial, "partial")
        }
        Ending::Interrupted => {
            reporter.warning(
                "interrupted",
                &format!(
                    "stopped at {:.3} s; {} frames were kept",
                    counts.reached_ns as f64 / 1e9,
                    counts.frames_out
                ),
            );
            (Exit::Interrupted, "interrupted")
        }
    };
    if let (Some(truth), Some((measured, reached_ns))) = (&truth, measured) {
        let check = Check {
            truth,
            measured,
            rotation: &plan.rotation,
            size: out_size,
            reached_ns,
            complete: matches!(ending, Ending::Complete),
            length_ns: counts.video_end_ns,
        };
        if !check.tell(options, interrupts, reporter) && exit == Exit::Ok {
            exit = Exit::BelowLimit;
        }
        if interrupts.load(Ordering::SeqCst) > 0 {
            exit = Exit::Interrupted;
        }
    }
    reporter.done(&Done {
        status,
        output: options.output.display().to_string(),
        bytes,
        frames_in: counts.frames_in,
        frames_out: counts.frames_out,
        width: out_size.0,
        height: out_size.1,
        model,
        duration_s: counts.video_end_ns as f64 / 1e9,
        wall_s: wall,
        fps: counts.frames_out as f64 / wall,
        stats,
        exit: exit as i32,
    });
    Ok(exit)
}
