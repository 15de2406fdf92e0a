//! A comparison as a report.

use super::pictures::{self, JPEG_QUALITY};
use super::{Job, Options, Outcome, columns};
use crate::failure::Failure;
use crate::report::Reporter;
use crate::report::html::{Candidate, Level, Note, Page, Pictures, Pooled};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Six significant digits behind the point are more than any metric has.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Builds the report, decoding the worst frames again for their pictures.
pub(super) fn page(
    job: &Job<'_>,
    options: &Options,
    outcome: &Outcome,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Page, Failure> {
    let lead = columns::lead(&outcome.columns);
    let mut page = Page {
        title: format!("Comparison with {}", job.reference.name),
        subtitle: format!(
            "{}{} \u{b7} {} frames \u{b7} {} candidate{}",
            job.reference.detail(),
            job.reference
                .frame_rate
                .map(|r| format!(", {} fps", (r * 1e3).round() / 1e3))
                .unwrap_or_default(),
            outcome.measured.iter().map(|m| m.frames).max().unwrap_or(0),
            job.candidates.len(),
            if job.candidates.len() == 1 { "" } else { "s" }
        ),
        generator: concat!("gst-neural ", env!("CARGO_PKG_VERSION")).into(),
        command: Some(options.command.clone()),
        facts: facts(job, options),
        columns: outcome.columns.clone(),
        worst_by: lead.map(|i| outcome.columns[i].name.clone()),
        ..Page::default()
    };
    for (c, m) in job.candidates.iter().zip(&outcome.measured) {
        for text in &m.fault_texts {
            page.notes.push(Note {
                level: Level::Warning,
                text: format!("{}: {text}", c.name),
            });
        }
        let more = m.fault_count - m.fault_texts.len() as u64;
        if more > 0 {
            page.notes.push(Note {
                level: Level::Warning,
                text: format!("{}: {more} more faults in pairing", c.name),
            });
        }
        if m.identical > 0 {
            page.notes.push(Note {
                level: Level::Info,
                text: format!(
                    "{}: {} of {} frames equal the reference in every sample (PSNR counts as 100 dB)",
                    c.name, m.identical, m.frames
                ),
            });
        }
    }
    for v in &outcome.verdicts {
        let value = v.value.map_or("not measured".into(), |v| format!("{v:.3}"));
        page.notes.push(Note {
            level: if v.kept { Level::Good } else { Level::Bad },
            text: format!("{}: limit {}, measured {value}", v.candidate, v.limit),
        });
    }
    for (c, m) in job.candidates.iter().zip(&outcome.measured) {
        let worst = match lead {
            Some(l) => pictures::worst(m, l, outcome.columns[l].higher_is_better, options.worst),
            None => Vec::new(),
        };
        page.candidates.push(Candidate {
            name: c.name.clone(),
            detail: c.detail(),
            pooled: outcome
                .columns
                .iter()
                .map(|column| {
                    m.column(&column.name).map(|p| Pooled {
                        mean: p.mean,
                        harmonic_mean: p.harmonic_mean,
                        min: p.min,
                        max: p.max,
                        p1: p.p1,
                        p5: p.p5,
                    })
                })
                .collect(),
            frames: m.rows.iter().map(|r| r.frame).collect(),
            time_s: times(job, m),
            values: (0..outcome.columns.len())
                .map(|i| {
                    m.rows
                        .iter()
                        .map(|r| r.values.get(i).copied().flatten().map(rounded))
                        .collect()
                })
                .collect(),
            worst,
        });
    }
    shots(job, options, outcome, &mut page, interrupts, reporter)?;
    Ok(page)
}

fn times(job: &Job<'_>, m: &super::Measured) -> Vec<f64> {
    let rate = job.reference.frame_rate.unwrap_or(25.0);
    m.rows
        .iter()
        .map(|r| match r.time_ns {
            Some(ns) => rounded(ns as f64 / 1e9),
            None => rounded(r.frame as f64 / rate),
        })
        .collect()
}

fn facts(job: &Job<'_>, options: &Options) -> Vec<(String, String)> {
    let s = &options.settings;
    let mut facts = vec![(
        "Reference".into(),
        format!("{} ({})", job.reference.input, job.reference.detail()),
    )];
    for c in &job.candidates {
        facts.push(("Candidate".into(), format!("{} ({})", c.input, c.detail())));
    }
    facts.push((
        "Frames paired".into(),
        match s.pairing.as_str() {
            "count" => "by number".into(),
            _ => format!(
                "by running time, within {}",
                s.tolerance.map_or("half a frame".into(), |t| format!(
                    "{} ms",
                    t.as_secs_f64() * 1e3
                ))
            ),
        },
    ));
    if options.settings.metrics.contains("vmaf") {
        facts.push((
            "VMAF model".into(),
            if s.vmaf_model.is_empty() {
                "v0.6.1".into()
            } else {
                s.vmaf_model.clone()
            },
        ));
    }
    facts.extend(job.facts.iter().cloned());
    facts
}

/// Fills in the pictures of the worst frames.
fn shots(
    job: &Job<'_>,
    options: &Options,
    outcome: &Outcome,
    page: &mut Page,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let mut wanted = vec![BTreeSet::new(); job.candidates.len() + 1];
    for (i, (c, m)) in page.candidates.iter().zip(&outcome.measured).enumerate() {
        for &row in &c.worst {
            wanted[0].insert(m.rows[row].frame);
            wanted[i + 1].insert(m.rows[row].distorted_frame);
        }
    }
    if wanted.iter().all(BTreeSet::is_empty) {
        return Ok(());
    }
    reporter.begin("decoding the worst frames again for the report");
    let size = (job.reference.width, job.reference.height);
    let streams = (job.streams)()?;
    let caught = pictures::catch(
        &streams,
        &wanted,
        size,
        options.settings.stall,
        interrupts,
        reporter,
    )?;
    drop(streams);
    reporter.end();
    for (i, (c, m)) in page.candidates.iter().zip(&outcome.measured).enumerate() {
        for &at in &c.worst {
            let row = &m.rows[at];
            let (Some(reference), Some(distorted)) = (
                caught[0].get(&row.frame),
                caught[i + 1].get(&row.distorted_frame),
            ) else {
                reporter.warning(
                    "picture",
                    &format!("{}: frame {} did not come again", c.name, row.frame),
                );
                continue;
            };
            let difference = pictures::difference(reference, distorted, options.amplify);
            page.pictures.push(Pictures {
                candidate: i,
                frame: row.frame,
                time_s: c.time_s[at],
                values: outcome
                    .columns
                    .iter()
                    .zip(&row.values)
                    .filter(|(column, _)| column.main)
                    .filter_map(|(column, v)| {
                        let d = column.digits;
                        Some((column.label.clone(), format!("{:.d$}", (*v)?)))
                    })
                    .collect(),
                width: size.0,
                height: size.1,
                reference: pictures::encode(reference, options.pictures)?,
                distorted: pictures::encode(distorted, options.pictures)?,
                difference: pictures::encode(&difference, options.pictures)?,
                amplification: options.amplify,
            });
        }
    }
    page.picture_note = format!(
        "No two within half a second. The difference is the absolute one of R, G and B, {} times amplified. {}",
        options.amplify,
        if options.pictures.is_jpeg(size.0, size.1) {
            format!(
                "Pictures are stored as JPEG of quality {JPEG_QUALITY}: for details, take --pictures png."
            )
        } else {
            "Pictures are stored without loss.".into()
        }
    );
    Ok(())
}
