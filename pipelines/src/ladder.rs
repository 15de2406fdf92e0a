//! `gst-neural ladder`: a clip through several encoders at several qualities.
//!
//! Each point is encoded, measured against the input with `psnrsink`, and kept in a JSON file at
//! once; a second run takes the points from there and measures only what is missing.

use crate::compare::args::Measuring;
use crate::compare::graph::{Input, Streams, add_chain, fail, pad};
use crate::compare::measure::{self, drive};
use crate::compare::{self, Options, Outputs, Subject, columns, pictures};
use crate::encoder::{self, Codec};
use crate::failure::{Exit, Failure, make};
use crate::output::PartFile;
use crate::rates::{self, Curves, Point, Series};
use crate::report::Reporter;
use clap::{Args, ValueEnum};
use gst::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// `gst-neural ladder`.
#[derive(Debug, Args)]
pub struct Ladder {
    /// The clip: a path
    input: PathBuf,

    /// Encoders; the first is the anchor of the BD-rates
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "x264,x265,av1,vp9",
        help_heading = "Encoding"
    )]
    encoders: Vec<Codec>,
    /// Qualities, the same numbers for every encoder though their scales differ (x264, x265: 0-51; av1, vp9: 0-63)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "22,27,32,37",
        help_heading = "Encoding"
    )]
    crf: Vec<u32>,
    /// Other qualities for one encoder, such as av1=30,40,50,60; may be given again
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
    /// Write all points to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    csv: Option<PathBuf>,
    /// Write a report: one HTML file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,
    /// Keep the encodes in this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    keep: Option<PathBuf>,
    /// Overwrite the report and the CSV file
    #[arg(long, short)]
    force: bool,
    /// One line of JSON per event on stdout
    #[arg(long)]
    pub json: bool,
    /// No progress on stderr (warnings and errors stay)
    #[arg(long, short)]
    pub quiet: bool,
    /// Give up when nothing moves for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

fn crf_for(text: &str) -> Result<(Codec, Vec<u32>), String> {
    let wrong = || "write it as av1=30,40,50".to_string();
    let (codec, list) = text.split_once('=').ok_or_else(wrong)?;
    let list: Vec<u32> = list
        .split(',')
        .map(|v| v.trim().parse().map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    Ok((Codec::from_str(codec, false)?, list))
}

impl Ladder {
    /// The qualities of an encoder, each once.
    fn crf_of(&self, codec: Codec) -> Vec<u32> {
        let own = self.crf_for.iter().rev().find(|(c, _)| *c == codec);
        let mut list = own.map_or(&self.crf, |(_, list)| list).clone();
        list.sort_unstable();
        list.dedup();
        list
    }
}

/// The file of points.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// Which file the points belong to.
    input: Identity,
    /// In the order in which they were measured.
    points: Vec<KeptPoint>,
}

/// A file, told from others by its size and a hash (FNV-1a) of its first and last mebibyte.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    name: String,
    bytes: u64,
    hash: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptPoint {
    encoder: String,
    crf: u32,
    preset: String,
    metrics: String,
    vmaf_model: String,
    bytes: u64,
    duration_s: f64,
    rate_kbps: f64,
    encode_s: f64,
    frames: u64,
    values: BTreeMap<String, f64>,
}

impl Identity {
    fn of(path: &Path) -> Result<Self, Failure> {
        let read = || -> std::io::Result<(u64, u64)> {
            let mut file = File::open(path)?;
            let bytes = file.metadata()?.len();
            let mut hash = 0xcbf2_9ce4_8422_2325u64;
            let mut block = Vec::new();
            for start in [0, bytes.saturating_sub(1 << 20)] {
                block.clear();
                file.seek(SeekFrom::Start(start))?;
                (&mut file).take(1 << 20).read_to_end(&mut block)?;
                for b in &block {
                    hash = (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            Ok((bytes, hash))
        };
        let (bytes, hash) = read().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(format!("{}: no such file", path.display()))
            }
            _ => Failure::io("reading", path, &e),
        })?;
        Ok(Self {
            name: path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default(),
            bytes,
            hash: format!("{hash:016x}"),
        })
    }
}

impl Kept {
    /// Reads the file of points, or begins one.
    fn load(path: &Path, input: Identity) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    input,
                    points: Vec::new(),
                });
            }
            Err(e) => return Err(Failure::io("reading", path, &e)),
        };
        let kept: Self = serde_json::from_str(&text).map_err(|e| {
            Failure::new(format!("{}: no file of points: {e}", path.display()))
                .hint("name another with --points")
        })?;
        if (kept.input.bytes, &kept.input.hash) != (input.bytes, &input.hash) {
            return Err(Failure::new(format!(
                "{}: its points belong to another file ({})",
                path.display(),
                kept.input.name
            ))
            .hint("name another with --points, or delete it"));
        }
        Ok(kept)
    }

    fn save(&self, path: &Path, input: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
        compare::publish(PartFile::create(path, input, true)?, &text)
    }

    fn find(&self, wanted: &Wanted<'_>) -> Option<&KeptPoint> {
        self.points.iter().find(|p| {
            p.encoder == wanted.codec.name()
                && p.crf == wanted.crf
                && p.preset == wanted.preset
                && p.metrics == wanted.settings.metrics
                && p.vmaf_model == wanted.settings.vmaf_model
                // Of which network a kept distance is, is not noted.
                && wanted.settings.lpips_model.is_none()
        })
    }
}

/// A point to be measured.
struct Wanted<'a> {
    codec: Codec,
    crf: u32,
    preset: &'a str,
    settings: &'a measure::Settings,
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
    let settings = args.measuring.settings(args.stall_timeout);
    let planned = columns::planned(&settings.metrics, &settings.vmaf_model)?;
    for &codec in &args.encoders {
        for crf in args.crf_of(codec) {
            encoder_settings(codec, crf, &args.preset).validate()?;
        }
        make(codec.factory())?;
    }
    let input = args.input.to_string_lossy().into_owned();
    let identity = Identity::of(&args.input)?;
    let options = Options {
        reference: input.clone(),
        candidates: Vec::new(),
        settings: settings.clone(),
        fail_under: None,
        fail_over: None,
        csv: args.csv.clone(),
        report: args.report.clone(),
        force: args.force,
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
    for &codec in &args.encoders {
        let mut points = Vec::new();
        for crf in args.crf_of(codec) {
            number += 1;
            let wanted = Wanted {
                codec,
                crf,
                preset: &args.preset,
                settings: &settings,
            };
            let found = kept.find(&wanted).cloned();
            let known = found.is_some();
            let point = match found {
                Some(point) => point,
                None => {
                    reporter.begin(&format!("[{number}/{all}] {} crf {crf}", codec.name()));
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
                label: format!("crf {crf}"),
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
    let facts = vec![
        ("Clip".into(), format!("{input} ({})", reference.detail())),
        ("Preset".into(), args.preset.clone()),
        (
            "Rate".into(),
            "size of the file (Matroska, video only) by the clip's length".into(),
        ),
        ("Quality".into(), "mean over all frames".into()),
        ("Points".into(), place.display().to_string()),
    ];
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

fn encoder_settings(codec: Codec, crf: u32, preset: &str) -> encoder::Settings {
    encoder::Settings {
        codec,
        crf: Some(crf),
        bitrate_bps: None,
        preset: Some(preset.into()),
        threads: 0,
    }
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
        "{}-{}-crf{}.mkv",
        wanted.codec.name(),
        wanted.preset,
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
        wanted.settings,
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
        preset: wanted.preset.into(),
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
    let decoded = streams.add_file(
        0,
        &Input {
            location: args.input.to_string_lossy().into_owned(),
            convert_to: None,
        },
    )?;
    streams.add_output(decoded.clone());
    let sink = make("filesink")?;
    sink.set_property("location", path.to_string_lossy().as_ref());
    let chain = [
        make("videoconvert")?,
        encoder_settings(wanted.codec, wanted.crf, wanted.preset).make()?,
        make(wanted.codec.parser())?,
        make("matroskamux")?,
        sink,
    ];
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
        for wrong in ["av1", "av1=", "h264=3", "av1=a"] {
            assert!(crf_for(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn points_are_kept_and_belong_to_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let clip = dir.path().join("a.mp4");
        std::fs::write(&clip, b"0123").unwrap();
        let place = dir.path().join("p.json");
        let identity = Identity::of(&clip).unwrap();
        assert_eq!(identity.bytes, 4);
        let mut kept = Kept::load(&place, identity).unwrap();
        kept.points.push(KeptPoint {
            encoder: "x264".into(),
            crf: 22,
            preset: "medium".into(),
            metrics: "psnr".into(),
            vmaf_model: String::new(),
            bytes: 1,
            duration_s: 1.0,
            rate_kbps: 0.008,
            encode_s: 1.0,
            frames: 25,
            values: BTreeMap::from([("psnr-y".into(), 40.0)]),
        });
        kept.save(&place, &clip).unwrap();
        assert_eq!(
            Kept::load(&place, Identity::of(&clip).unwrap()).unwrap(),
            kept
        );
        std::fs::write(&clip, b"0124").unwrap();
        let failure = Kept::load(&place, Identity::of(&clip).unwrap()).unwrap_err();
        assert!(failure.what.contains("another file"), "{failure}");
        std::fs::write(&place, "{").unwrap();
        assert!(Kept::load(&place, Identity::of(&clip).unwrap()).is_err());
    }
}
