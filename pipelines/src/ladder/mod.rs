//! `gst-neural ladder`: a clip through several encoders at several qualities.
//!
//! Each point is encoded, measured against the input with `psnrsink`, and kept in a JSON file at
//! once; a second run takes the points from there and measures only what is missing.

mod encoders;
mod kept;

use crate::cli::common::{Common, Written};
use crate::compare::args::Measuring;
use crate::compare::graph::{Input, Streams, add_chain, fail, pad};
use crate::compare::measure::{self, drive};
use crate::compare::{self, Options, Outputs, Subject, columns, pictures};
use crate::encoder::Codec;
use crate::failure::{Exit, Failure, make};
use crate::rates::{self, Curves, Point, Series};
use crate::report::Reporter;
use clap::Args;
use gst::prelude::*;
use kept::{Identity, Kept, KeptPoint, Wanted};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// `gst-neural ladder`.
#[derive(Debug, Args)]
pub struct Ladder {
    /// The clip: a path
    input: PathBuf,

    /// Encoders: x264, x265, av1, vp9, neural (this project's, profile inter); the first is the anchor of the BD-rates
    #[arg(
        long,
        value_parser = encoders::parse,
        value_delimiter = ',',
        default_value = "x264,x265,av1,vp9",
        help_heading = "Encoding"
    )]
    encoders: Vec<Codec>,
    /// Qualities, the same numbers for every encoder though their scales differ (x264, x265: 0-51; av1, vp9: 0-63); neural's count up and are 9,14,19,24 without --crf-for
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "22,27,32,37",
        help_heading = "Encoding"
    )]
    crf: Vec<u32>,
    /// Other qualities for one encoder, such as av1=30,40,50,60 or neural=5,15,25; may be given again
    #[arg(long, value_name = "ENCODER=LIST", value_parser = crf_for, help_heading = "Encoding")]
    crf_for: Vec<(Codec, Vec<u32>)>,
    /// Speed of the encoders: ultrafast ... placebo
    #[arg(long, default_value = "medium", help_heading = "Encoding")]
    preset: String,

    #[command(flatten)]
    measuring: Measuring,

    /// Where points are kept; those that are there are not measured again [default: INPUT.ladder.json in this folder]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    points: Option<PathBuf>,
    #[command(flatten)]
    written: Written,
    /// Keep the encodes in this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

fn crf_for(text: &str) -> Result<(Codec, Vec<u32>), String> {
    let wrong = || "write it as av1=30,40,50".to_string();
    let (codec, list) = text.split_once('=').ok_or_else(wrong)?;
    let list: Vec<u32> = list
        .split(',')
        .map(|v| v.trim().parse().map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    Ok((encoders::parse(codec)?, list))
}

impl Ladder {
    /// The qualities of an encoder, each once.
    fn crf_of(&self, codec: Codec) -> Vec<u32> {
        let own = self.crf_for.iter().rev().find(|(c, _)| *c == codec);
        encoders::qualities(codec, own.map(|(_, list)| &list[..]), &self.crf)
    }
}
/// Removes a file when it goes.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs the ladder. `interrupts` counts the Ctrl-Cs.
pub fn run(
    args: &Ladder,
    command: &str,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Exit, Failure> {
    let settings = args.measuring.settings(args.common.stall());
    let planned = columns::planned(&settings.metrics, &settings.vmaf_model)?;
    for &codec in &args.encoders {
        for crf in args.crf_of(codec) {
            let settings = encoders::settings(codec, crf, &args.preset);
            settings.validate()?;
            settings.make()?;
        }
    }
    let input = args.input.to_string_lossy().into_owned();
    let identity = Identity::of(&args.input)?;
    let options = Options {
        reference: input.clone(),
        candidates: Vec::new(),
        settings: settings.clone(),
        fail_under: None,
        fail_over: None,
        csv: args.written.csv.clone(),
        report: args.written.report.clone(),
        force: args.common.force,
        worst: 0,
        pictures: pictures::Format::Auto,
        amplify: 1,
        command: command.into(),
    };
    let outputs = Outputs::create(&options)?;
    let place = args
        .points
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.ladder.json", identity.name)));
    let mut kept = Kept::load(&place, identity)?;
    if let Some(dir) = &args.keep {
        std::fs::create_dir_all(dir).map_err(|e| Failure::io("making", dir, &e))?;
    }
    let (reference, _) = Subject::probe(&input, Duration::from_secs(30).min(settings.stall))?;

    let all: usize = args.encoders.iter().map(|c| args.crf_of(*c).len()).sum();
    let mut number = 0;
    let mut series = Vec::new();
    let mut facts = vec![("Preset".into(), args.preset.clone())];
    for &codec in &args.encoders {
        let mut points = Vec::new();
        let variant = encoders::variant(codec, &args.preset)?;
        let scale = encoders::scale(codec);
        if codec == Codec::Neural {
            let what = format!(
                "8-bit 4:2:0, profile inter, {variant}, keyframes at most 250 frames apart"
            );
            facts.push((codec.name().into(), what));
        }
        for crf in args.crf_of(codec) {
            number += 1;
            let wanted = Wanted {
                codec,
                crf,
                variant: &variant,
                settings: &settings,
            };
            let found = kept.find(&wanted).cloned();
            let known = found.is_some();
            let point = match found {
                Some(point) => point,
                None => {
                    reporter.begin(&format!("[{number}/{all}] {} {scale} {crf}", codec.name()));
                    let point = one(args, &reference, &wanted, interrupts, reporter)?;
                    reporter.end();
                    kept.points.push(point.clone());
                    kept.save(&place, &args.input)?;
                    point
                }
            };
            reporter.event("point", &json!({ "known": known, "point": point }));
            points.push(Point {
                rate: point.rate_kbps,
                label: format!("{scale} {crf}"),
                bytes: Some(point.bytes),
                encode_s: Some(point.encode_s),
                values: point.values,
            });
        }
        points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        series.push(Series {
            name: codec.name().into(),
            points,
        });
    }
    let order: Vec<String> = planned.iter().map(|c| c.name.clone()).collect();
    let curves = Curves::new(series, &order, "kbit/s");
    facts.insert(
        0,
        ("Clip".into(), format!("{input} ({})", reference.detail())),
    );
    facts.extend([
        (
            "Rate".into(),
            "size of the file (Matroska, video only) by the clip's length".into(),
        ),
        ("Quality".into(), "mean over all frames".into()),
        ("Points".into(), place.display().to_string()),
    ]);
    rates::tell(
        &curves,
        &format!("Encoders on {}", reference.name),
        facts,
        outputs,
        &options,
        reporter,
    )?;
    Ok(Exit::Ok)
}

/// Encodes and measures a point.
fn one(
    args: &Ladder,
    reference: &Subject,
    wanted: &Wanted<'_>,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<KeptPoint, Failure> {
    let name = format!(
        "{}-{}-{}{}.mkv",
        wanted.codec.name(),
        wanted.variant,
        encoders::scale(wanted.codec),
        wanted.crf
    );
    let (path, temporary) = match &args.keep {
        Some(dir) => (dir.join(format!(".{name}.part")), true),
        None => (
            std::env::temp_dir().join(format!("gst-neural-{}-{name}", std::process::id())),
            true,
        ),
    };
    let mut guard = temporary.then(|| Temporary(path.clone()));
    let began = Instant::now();
    encode(args, reference, wanted, &path, interrupts, reporter)?;
    let encode_s = began.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&path)
        .map_err(|e| Failure::io("reading", &path, &e))?
        .len();

    let file = path.to_string_lossy().into_owned();
    let timeout = Duration::from_secs(30).min(wanted.settings.stall);
    let (subject, _) = Subject::probe(&file, timeout)?;
    let mut facts = Vec::new();
    let inputs = compare::inputs(
        reference,
        &[Subject {
            name: name.clone(),
            ..subject
        }],
        wanted.settings,
        reporter,
        &mut facts,
    )?;
    let streams = Streams::of_files(&inputs)?;
    let measured = measure::measure(
        &streams,
        &wanted.settings.bounded(reference, 2),
        reference.expected(),
        interrupts,
        reporter,
    )?
    .into_iter()
    .next()
    .filter(|m| m.frames > 0)
    .ok_or_else(|| Failure::new(format!("{name}: no frame pairs with the input's")))?;
    drop(streams);
    if measured.faults.missing > 0 || measured.faults.extra > 0 {
        reporter.warning(
            "pairing",
            &format!(
                "{name}: {} frames missing, {} extra",
                measured.faults.missing, measured.faults.extra
            ),
        );
    }
    let frames = measured.frames + measured.faults.missing;
    let duration_s = match (reference.frame_rate, reference.duration_s) {
        (Some(rate), _) => frames as f64 / rate,
        (None, Some(d)) if d > 0.0 => d,
        _ => {
            return Err(Failure::new(format!(
                "{}: neither its length nor its frame rate is known",
                reference.input
            )));
        }
    };
    if let Some(dir) = &args.keep {
        let target = dir.join(&name);
        std::fs::rename(&path, &target).map_err(|e| Failure::io("naming", &target, &e))?;
        guard = None;
    }
    drop(guard);
    Ok(KeptPoint {
        encoder: wanted.codec.name().into(),
        crf: wanted.crf,
        preset: wanted.variant.into(),
        metrics: wanted.settings.metrics.clone(),
        vmaf_model: wanted.settings.vmaf_model.clone(),
        bytes,
        duration_s,
        rate_kbps: bytes as f64 * 8.0 / duration_s / 1e3,
        encode_s,
        frames: measured.frames,
        values: rates::means(&measured),
    })
}

fn encode(
    args: &Ladder,
    reference: &Subject,
    wanted: &Wanted<'_>,
    path: &Path,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let mut streams = Streams::new();
    let decoded = streams.add_file(0, &Input::plain(args.input.to_string_lossy()))?;
    streams.add_output(decoded.clone());
    let sink = make("filesink")?;
    sink.set_property("location", path.to_string_lossy().as_ref());
    let mut chain = vec![
        make("videoconvert")?,
        encoders::settings(wanted.codec, wanted.crf, &args.preset).make()?,
    ];
    chain.extend(wanted.codec.parser().map(make).transpose()?);
    chain.extend([make(encoders::muxer(wanted.codec))?, sink]);
    let bin = streams.pipeline.clone().upcast::<gst::Bin>();
    add_chain(&bin, &chain)?;
    decoded.link(&pad(&chain[0], "sink")?).map_err(fail)?;
    drive(
        &streams,
        wanted.settings.stall,
        reference.expected(),
        interrupts,
        reporter,
        |_| {},
        || false,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_may_have_qualities_of_its_own() {
        assert_eq!(crf_for("av1=30,40"), Ok((Codec::Av1, vec![30, 40])));
        assert_eq!(crf_for("neural=5"), Ok((Codec::Neural, vec![5])));
        for wrong in ["av1", "av1=", "h264=3", "av1=a"] {
            assert!(crf_for(wrong).is_err(), "{wrong}");
        }
    }
}
