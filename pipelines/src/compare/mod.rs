//! `gst-neural compare`: videos against a reference.
//!
//! [`run`] decodes each file once into one `psnrsink` ([`measure`]), prints a table, and writes
//! what was asked for: frames as CSV, a report as HTML. The pictures of the report come from a
//! second, partial pass ([`pictures`]) once it is known which frames are the worst.

pub mod args;
pub mod columns;
pub mod graph;
pub mod measure;
mod page;
pub mod pictures;
mod subject;
pub(crate) mod table;
pub mod upscale;

use crate::failure::{Exit, Failure};
use crate::output::PartFile;
use crate::report::Reporter;
use crate::report::html::Column;
use gstneural_metrics::Limits;
use measure::Measured;
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use subject::distinct_names;

pub use subject::{Subject, bitrate};
pub(crate) use subject::{is_hdr, same_colours};

/// Everything that the command line of `compare` says.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path or URI of what the others should look like.
    pub reference: String,
    /// Paths or URIs.
    pub candidates: Vec<String>,
    /// How to measure.
    pub settings: measure::Settings,
    /// The limits on what should be more.
    pub fail_under: Option<String>,
    /// The limits on what should be less.
    pub fail_over: Option<String>,
    /// Where to write the values of every frame.
    pub csv: Option<PathBuf>,
    /// Where to write the report.
    pub report: Option<PathBuf>,
    /// Overwrite.
    pub force: bool,
    /// How many of the worst frames of each candidate the report shows.
    pub worst: usize,
    /// How they are stored.
    pub pictures: pictures::Format,
    /// How many times differences are amplified.
    pub amplify: u32,
    /// The command line, for the report.
    pub command: String,
}

/// What is compared, and how the streams to compare are made.
pub(crate) struct Job<'a> {
    pub reference: Subject,
    pub candidates: Vec<Subject>,
    /// Makes the streams; called again for the pictures.
    pub streams: &'a dyn Fn() -> Result<graph::Streams, Failure>,
    /// Label and value of what a reader of the report should know.
    pub facts: Vec<(String, String)>,
}

/// What came out of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub columns: Vec<Column>,
    pub measured: Vec<Measured>,
    pub verdicts: Vec<Verdict>,
}

impl Outcome {
    pub(crate) fn keeps_limits(&self) -> bool {
        self.verdicts.iter().all(|v| v.kept)
    }
}

/// Whether a candidate keeps a limit.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub candidate: String,
    pub limit: String,
    pub value: Option<f64>,
    pub kept: bool,
}

/// Runs a comparison. `interrupts` counts the Ctrl-Cs.
pub fn run(
    options: &Options,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Exit, Failure> {
    let outputs = Outputs::create(options)?;
    let limits = PlannedLimits::of(options)?;
    let timeout = Duration::from_secs(30).min(options.settings.stall);
    let (mut reference, _) = Subject::probe(&options.reference, timeout)?;
    let mut candidates = Vec::new();
    for input in &options.candidates {
        candidates.push(Subject::probe(input, timeout)?.0);
    }
    distinct_names(&mut candidates);
    let mut facts = Vec::new();
    let inputs = inputs(
        &reference,
        &candidates,
        &options.settings,
        reporter,
        &mut facts,
    )?;
    for (subject, input) in std::iter::once(&mut reference)
        .chain(&mut candidates)
        .zip(&inputs)
    {
        if input.turn.is_some() {
            (subject.width, subject.height) = subject.upright();
        }
    }
    let options = &Options {
        settings: options.settings.bounded(&reference, inputs.len()),
        ..options.clone()
    };
    let job = Job {
        reference,
        candidates,
        streams: &|| graph::Streams::of_files(&inputs),
        facts,
    };
    compare(&job, options, &limits, outputs, interrupts, reporter).map(|(exit, _)| exit)
}

/// The inputs of the pipeline. Frames of another format than the reference's are converted; where
/// orientations differ, all are turned upright; where one is interlaced and another is not,
/// progressive frames are made of the interlaced one's.
pub(crate) fn inputs(
    reference: &Subject,
    candidates: &[Subject],
    settings: &measure::Settings,
    reporter: &mut Reporter,
    facts: &mut Vec<(String, String)>,
) -> Result<Vec<graph::Input>, Failure> {
    let all = || std::iter::once(reference).chain(candidates);
    let upright = candidates
        .iter()
        .any(|c| c.orientation != reference.orientation);
    let progressive = candidates
        .iter()
        .any(|c| c.interlaced != reference.interlaced);
    let size = |s: &Subject| match upright {
        true => s.upright(),
        false => (s.width, s.height),
    };
    let mut tell = |code: &str, name: &str, what: String| {
        reporter.warning(code, &format!("{name}: {what}"));
        facts.push((name.into(), what));
    };
    let wanted = size(reference);
    let mut scaled = Vec::new();
    let mut inputs = Vec::new();
    for s in all() {
        let mut input = graph::Input::plain(&s.input);
        if upright && let Some(orientation) = &s.orientation {
            let what = format!("turned upright before it is measured ({orientation})");
            tell("turned", &s.name, what);
            input.turn = Some(orientation.clone());
        }
        if progressive && s.interlaced {
            let what = "deinterlaced before it is measured: one picture of each frame".to_string();
            tell("deinterlaced", &s.name, what);
            input.deinterlace = s.caps.clone();
            // Deinterlacing may have taken bits away.
            input.convert_to = Some(reference.format.clone());
        }
        if !same_colours(s.colorimetry.as_deref(), reference.colorimetry.as_deref()) {
            let what = format!(
                "its samples mean other colours ({}) than the reference's ({}): the figures say little",
                s.colorimetry.as_deref().unwrap_or_default(),
                reference.colorimetry.as_deref().unwrap_or_default()
            );
            tell("colours-differ", &s.name, what);
        }
        let found = size(s);
        if found != wanted {
            if settings.scale == "off" {
                return Err(Failure::usage(format!(
                    "{} is {}x{}, the reference {}x{}",
                    s.input, found.0, found.1, wanted.0, wanted.1
                ))
                .hint("--scale lanczos (or bicubic) brings it to the reference's size"));
            }
            scaled.push((
                s.name.clone(),
                format!(
                    "scaled from {}\u{d7}{} to the reference's size ({})",
                    found.0, found.1, settings.scale
                ),
            ));
        }
        if s.format != reference.format {
            let what = format!(
                "converted from {} to the reference's {} before it is measured",
                s.format, reference.format
            );
            tell("converted", &s.name, what);
            input.convert_to = Some(reference.format.clone());
        }
        inputs.push(input);
    }
    facts.extend(scaled);
    if reference.colorimetry.as_deref().is_some_and(is_hdr) {
        facts.push((
            "HDR".into(),
            "measured as coded; VMAF's models and SSIM's constants were made for SDR. Pictures are not tone-mapped".into(),
        ));
    }
    if reference.interlaced && !progressive {
        facts.push((
            "Interlaced".into(),
            "measured as the fields are woven".into(),
        ));
    }
    Ok(inputs)
}

/// Files to be written, checked before anything is decoded.
pub(crate) struct Outputs {
    csv: Option<PartFile>,
    report: Option<PartFile>,
}

impl Outputs {
    pub(crate) fn create(options: &Options) -> Result<Self, Failure> {
        let all: Vec<&String> = std::iter::once(&options.reference)
            .chain(&options.candidates)
            .collect();
        let part = |path: &Option<PathBuf>| {
            let Some(path) = path else { return Ok(None) };
            let mut part = None;
            for input in &all {
                if part.is_none() {
                    part = Some(PartFile::create(path, Path::new(input), options.force)?);
                } else if same_file(path, Path::new(input)) {
                    return Err(Failure::usage(format!(
                        "{}: input and output are the same file",
                        path.display()
                    )));
                }
            }
            Ok(part)
        };
        Ok(Self {
            csv: part(&options.csv)?,
            report: part(&options.report)?,
        })
    }
}

impl Outputs {
    /// The files for CSV and for the report.
    pub(crate) fn parts(self) -> (Option<PartFile>, Option<PartFile>) {
        (self.csv, self.report)
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Writes `text` and gives the file its name.
pub(crate) fn publish(part: PartFile, text: &str) -> Result<(), Failure> {
    let target = part.target().to_path_buf();
    std::fs::File::create(part.path())
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(|e| Failure::io("writing", &target, &e))?;
    part.publish().map(|_| ())
}

/// Limits that go with the metrics.
#[derive(Debug)]
pub(crate) struct PlannedLimits {
    columns: Vec<gstneural_metrics::Column>,
    under: Limits,
    over: Limits,
}

impl PlannedLimits {
    pub(crate) fn read(
        settings: &measure::Settings,
        fail_under: Option<&str>,
        fail_over: Option<&str>,
    ) -> Result<Self, Failure> {
        let columns = columns::planned(&settings.metrics, &settings.vmaf_model)?;
        Ok(Self {
            under: columns::limits("fail-under", fail_under, &columns)?,
            over: columns::limits("fail-over", fail_over, &columns)?,
            columns,
        })
    }

    fn of(options: &Options) -> Result<Self, Failure> {
        Self::read(
            &options.settings,
            options.fail_under.as_deref(),
            options.fail_over.as_deref(),
        )
    }

    /// Describes what was measured and holds it against the limits.
    pub(crate) fn outcome(&self, candidates: &[Subject], measured: Vec<Measured>) -> Outcome {
        let columns = measured
            .iter()
            .find(|m| !m.columns.is_empty())
            .map(|m| &m.columns[..])
            .unwrap_or_default()
            .iter()
            .map(|name| {
                let known = self.columns.iter().find(|c| c.name == *name);
                columns::describe(name, known.is_none_or(|c| c.higher_is_better()))
            })
            .collect();
        let verdicts = candidates
            .iter()
            .zip(&measured)
            .flat_map(|(c, m)| self.verdicts(&c.name, m))
            .collect();
        Outcome {
            columns,
            measured,
            verdicts,
        }
    }

    fn verdicts(&self, candidate: &str, measured: &Measured) -> Vec<Verdict> {
        [(&self.under, true), (&self.over, false)]
            .into_iter()
            .flat_map(|(limits, under)| {
                limits.0.iter().map(move |limit| {
                    let (kept, value) =
                        columns::keeps(limit, measured.column(&limit.column), under);
                    Verdict {
                        candidate: candidate.into(),
                        limit: limit.to_string(),
                        value,
                        kept,
                    }
                })
            })
            .collect()
    }
}

/// Measures, tells, writes.
pub(crate) fn compare(
    job: &Job<'_>,
    options: &Options,
    limits: &PlannedLimits,
    outputs: Outputs,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<(Exit, Outcome), Failure> {
    let began = Instant::now();
    reporter.begin(&format!(
        "{} against {}: {}",
        match job.candidates.as_slice() {
            [one] => one.name.clone(),
            many => format!("{} candidates", many.len()),
        },
        job.reference.name,
        options.settings.metrics
    ));
    reporter.event(
        "start",
        &json!({
            "reference": job.reference,
            "candidates": job.candidates,
            "metrics": options.settings.metrics,
        }),
    );
    let settings = measure::Settings {
        frames: outputs.csv.is_some() || outputs.report.is_some(),
        ..options.settings.clone()
    };
    let streams = (job.streams)()?;
    let measured = measure::measure(
        &streams,
        &settings,
        job.reference.expected(),
        interrupts,
        reporter,
    )?;
    drop(streams);
    reporter.end();
    for (c, m) in job.candidates.iter().zip(&measured) {
        if m.frames == 0 {
            return Err(Failure::new(format!(
                "{}: not one of its frames pairs with the reference's",
                c.name
            ))
            .hint("--pairing count pairs them by number"));
        }
        tell_faults(&c.name, m, reporter);
    }
    let outcome = limits.outcome(&job.candidates, measured);
    if let Some(part) = outputs.csv {
        publish(part, &table::csv(&job.candidates, &outcome))?;
    }
    if let Some(part) = outputs.report {
        let page = page::page(job, options, &outcome, interrupts, reporter)?;
        publish(part, &page.render())?;
    }
    let exit = if outcome.keeps_limits() {
        Exit::Ok
    } else {
        Exit::BelowLimit
    };
    if reporter.is_json() {
        reporter.event(
            "done",
            &table::json(
                &job.reference,
                &job.candidates,
                options,
                &outcome,
                began.elapsed().as_secs_f64(),
                exit,
            ),
        );
    } else {
        print(&table::text(&job.candidates, &outcome));
    }
    Ok((exit, outcome))
}

/// Says what was wrong with a candidate's frames.
pub(crate) fn tell_faults(name: &str, m: &Measured, reporter: &mut Reporter) {
    for text in &m.fault_texts {
        reporter.warning("pairing", &format!("{name}: {text}"));
    }
    let more = m.fault_count - m.fault_texts.len() as u64;
    if more > 0 {
        reporter.warning("pairing", &format!("{name}: {more} more faults"));
    }
}

/// Writes a table to stdout; a reader that has gone away is no reason to fail.
pub(crate) fn print(table: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(table.as_bytes()).and_then(|()| out.flush());
}
