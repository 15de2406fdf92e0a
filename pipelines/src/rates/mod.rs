//! Rate-distortion curves from points: tables, charts, Bjøntegaard differences.

mod curves;
mod given;

use crate::compare::{self, Options, Outputs, Subject, columns};
use crate::failure::{Exit, Failure};
use crate::probe::Kind;
use crate::report::Reporter;
use crate::report::html::Page;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

pub use curves::Curves;
pub use given::Given;

/// A point of a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its rate.
    pub rate: f64,
    /// What it is, such as `crf 27`.
    pub label: String,
    /// Size of the file.
    pub bytes: Option<u64>,
    /// Time that encoding took.
    pub encode_s: Option<f64>,
    /// Quality by the column's name.
    pub values: BTreeMap<String, f64>,
}

/// A curve's points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// In any order.
    pub points: Vec<Point>,
}

/// Lets the values of `measured` become a point's.
pub(crate) fn means(measured: &compare::measure::Measured) -> BTreeMap<String, f64> {
    measured
        .columns
        .iter()
        .zip(&measured.pooled)
        .map(|(name, p)| (name.clone(), p.mean))
        .collect()
}

/// `gst-neural compare --bd-rate`: encodes among the curves are measured against the reference.
pub fn run(
    options: &Options,
    given: Vec<Given>,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Exit, Failure> {
    if options.fail_under.is_some() || options.fail_over.is_some() {
        return Err(Failure::usage("--fail-under does not go with --bd-rate"));
    }
    let outputs = Outputs::create(options)?;
    let planned = columns::planned(&options.settings.metrics, &options.settings.vmaf_model)?;
    let mut facts = Vec::new();
    let mut measured = Vec::new();
    let measuring = !options.candidates.is_empty();
    if measuring {
        let timeout = Duration::from_secs(30).min(options.settings.stall);
        let (reference, _) = Subject::probe(&options.reference, timeout)?;
        facts.push((
            "Reference".into(),
            format!("{} ({})", reference.input, reference.detail()),
        ));
        facts.push(("Rate".into(), "size of the whole file by its length".into()));
        for file in &options.candidates {
            let (subject, source) = Subject::probe(file, timeout)?;
            if source.streams.iter().any(|s| s.kind == Kind::Audio) {
                reporter.warning(
                    "rate-of-sound",
                    &format!("{file}: its rate counts its sound, too"),
                );
            }
            let rate = subject.bitrate_bps.ok_or_else(|| {
                Failure::new(format!("{file}: its bit rate is unknown"))
                    .hint("a rate needs a local file that says how long it is")
            })?;
            let inputs = compare::inputs(
                &reference,
                std::slice::from_ref(&subject),
                &options.settings,
                reporter,
                &mut facts,
            )?;
            reporter.begin(&format!("{file}: {}", options.settings.metrics));
            let streams = compare::graph::Streams::of_files(&inputs)?;
            let result = compare::measure::measure(
                &streams,
                &options.settings.bounded(&reference, 2),
                reference.expected(),
                interrupts,
                reporter,
            )?;
            reporter.end();
            let m = result
                .into_iter()
                .next()
                .filter(|m| m.frames > 0)
                .ok_or_else(|| {
                    Failure::new(format!(
                        "{file}: not one of its frames pairs with the reference's"
                    ))
                })?;
            for text in &m.fault_texts {
                reporter.warning("pairing", &format!("{file}: {text}"));
            }
            measured.push(Point {
                rate: rate / 1e3,
                label: subject.name.clone(),
                bytes: subject.bytes,
                encode_s: None,
                values: means(&m),
            });
        }
    }
    let mut measured = measured.into_iter();
    let mut series = Vec::new();
    for g in given {
        match g {
            Given::Points(s) => series.extend(s),
            Given::Files { name, files } => series.push(Series {
                name,
                points: measured.by_ref().take(files.len()).collect(),
            }),
        }
    }
    if series.len() < 2 {
        return Err(Failure::usage(
            "--bd-rate: one curve has no other to be compared with",
        ));
    }
    let order: Vec<String> = planned.iter().map(|c| c.name.clone()).collect();
    let curves = Curves::new(series, &order, if measuring { "kbit/s" } else { "" });
    tell(
        &curves,
        "Rate and quality",
        facts,
        outputs,
        options,
        reporter,
    )?;
    // Without any difference the question has no answer.
    let all: Vec<_> = curves
        .drawn()
        .flat_map(|c| curves.differences(&c.name))
        .collect();
    if let Some((name, Err(why))) = all.first()
        && all.iter().all(|(_, d)| d.is_err())
    {
        reporter.warning("no-difference", &format!("no difference of {name}: {why}"));
        return Ok(Exit::BelowLimit);
    }
    Ok(Exit::Ok)
}

/// Prints and writes curves.
pub(crate) fn tell(
    curves: &Curves,
    title: &str,
    facts: Vec<(String, String)>,
    outputs: Outputs,
    options: &Options,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let (csv, report) = outputs.parts();
    if let Some(part) = csv {
        compare::publish(part, &curves.csv())?;
    }
    if let Some(part) = report {
        let mut page = Page {
            title: title.into(),
            subtitle: format!(
                "{} curves, {} points; BD-rates against {}",
                curves.series.len(),
                curves.series.iter().map(|s| s.points.len()).sum::<usize>(),
                curves.series.first().map_or("", |s| s.name.as_str())
            ),
            generator: concat!("gst-neural ", env!("CARGO_PKG_VERSION")).into(),
            command: Some(options.command.clone()),
            facts,
            ..Page::default()
        };
        curves.fill(&mut page);
        compare::publish(part, &page.render())?;
    }
    if reporter.is_json() {
        let mut value = curves.json();
        value["csv"] = json!(options.csv);
        value["report"] = json!(options.report);
        reporter.event("done", &value);
    } else {
        compare::print(&curves.text());
    }
    Ok(())
}
