//! The command line of `upscale`.

use super::common::{Common, Limits, Metrics, Pairing, Selection, first_given, milliseconds};
use crate::encoder::Codec;
use crate::failure::Failure;
use crate::ground_truth;
use crate::job::{Options, Work};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Upscale {
    /// The video: a path, s3://BUCKET/KEY, http(s)://... or another URI that GStreamer reads
    input: String,
    /// The file or s3://BUCKET/KEY to make; its extension says the container: .mp4 .mkv .webm .mov .ts
    output: PathBuf,

    /// The network: a shipped name (see `gst-neural models list`) or a file
    #[arg(long, value_name = "NAME|FILE", help_heading = "Upscaling")]
    model: Option<String>,
    /// Where to look for models by name
    #[arg(long, value_name = "DIR", help_heading = "Upscaling")]
    model_dir: Option<String>,
    /// How many times larger; luma-x2 or, above 2, luma-x4 unless --model is given; Lanczos makes up the difference
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8), help_heading = "Upscaling")]
    scale: Option<u32>,
    /// Exact size of the output: the network first, then Lanczos
    #[arg(long, value_name = "WxH", value_parser = parse_size, conflicts_with = "scale", help_heading = "Upscaling")]
    size: Option<(u32, u32)>,
    /// Where the network runs: auto, cpu, ...
    #[arg(long, help_heading = "Upscaling")]
    device: Option<String>,
    /// Threads of the network and of the encoder; 0 = all cores
    #[arg(long, default_value_t = 0, help_heading = "Upscaling")]
    threads: u32,
    /// Side of a tile in pixels; 0 = the whole frame, -1 = automatic
    #[arg(long, allow_negative_numbers = true, help_heading = "Upscaling")]
    tile: Option<i32>,
    /// Overlap of tiles in pixels
    #[arg(long, allow_negative_numbers = true, help_heading = "Upscaling")]
    overlap: Option<i32>,
    /// Frames or tiles given to the network at once
    #[arg(long, help_heading = "Upscaling")]
    batch_size: Option<u32>,
    /// auto, luma or rgb
    #[arg(long, help_heading = "Upscaling")]
    mode: Option<String>,
    /// What to do with an alpha channel: upscale or drop
    #[arg(long, help_heading = "Upscaling")]
    alpha: Option<String>,
    /// How much of the network's work to mix in: 0 (classical upscaling) to 1
    #[arg(long, value_parser = parse_unit, help_heading = "Upscaling")]
    strength: Option<f64>,
    /// How much flicker to take away: 0 to 1
    #[arg(long, value_parser = parse_unit, help_heading = "Upscaling")]
    stabilize: Option<f64>,
    /// What to do with interlaced video: auto makes one picture of each frame, off leaves the fields woven
    #[arg(long, default_value = "auto", value_parser = ["auto", "off"], help_heading = "Upscaling")]
    deinterlace: String,
    /// When the network is slower than the video plays: off waits, fallback takes the classical upscale for a while
    #[arg(long, default_value = "off", value_parser = ["off", "fallback"], help_heading = "Upscaling")]
    qos_mode: String,
    /// The classical upscale, for chroma, --compare and --qos-mode fallback: bilinear, bicubic or lanczos [default: bicubic]
    #[arg(long, value_parser = ["bilinear", "bicubic", "lanczos"], help_heading = "Upscaling")]
    fallback_filter: Option<String>,
    /// How many milliseconds --qos-mode fallback may be late [default: three frames]
    #[arg(long, value_name = "MS", value_parser = milliseconds, help_heading = "Upscaling")]
    deadline: Option<Duration>,
    /// Show classical upscaling (or --compare-model) beside the network: split or side
    #[arg(long, value_parser = ["split", "side"], help_heading = "Upscaling")]
    compare: Option<String>,
    /// The other network of --compare
    #[arg(
        long,
        value_name = "NAME|FILE",
        requires = "compare",
        help_heading = "Upscaling"
    )]
    compare_model: Option<String>,
    /// Where --compare split divides the picture: 0 to 1
    #[arg(long, value_parser = parse_unit, requires = "compare", help_heading = "Upscaling")]
    split_pos: Option<f64>,

    /// Video encoder [default: x264; vp9 for .webm]
    #[arg(long, help_heading = "Encoding")]
    encoder: Option<Codec>,
    /// Constant quality, smaller is better [default: x264 18, x265 20, vp9 24, av1 26]
    #[arg(long, conflicts_with = "bitrate", help_heading = "Encoding")]
    crf: Option<u32>,
    /// Average bit rate: 2500k, 8M, or bits a second
    #[arg(long, value_parser = parse_bitrate, help_heading = "Encoding")]
    bitrate: Option<u64>,
    /// Speed of the encoder: ultrafast ... placebo; av1 and vp9 also 0 (best) ... 9 (fastest) [default: medium]
    #[arg(long, help_heading = "Encoding")]
    preset: Option<String>,

    #[command(flatten)]
    selection: Selection,

    /// Measure the result, before it is encoded, against this video of its size: tables as of `compare`
    #[arg(
        long,
        value_name = "GROUND_TRUTH",
        conflicts_with = "compare",
        help_heading = "Measuring"
    )]
    measure: Option<String>,
    /// Measure what was encoded, too (a second pass)
    #[arg(long, requires = "measure", help_heading = "Measuring")]
    measure_encoded: bool,
    #[command(flatten)]
    metrics: Metrics,
    #[command(flatten)]
    pairing: Pairing,
    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    pub(super) common: Common,
}

pub(crate) fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once(['x', 'X'])
        .and_then(|(w, h)| Some((w.parse::<u32>().ok()?, h.parse::<u32>().ok()?)));
    match parsed {
        Some((w, h)) if (16..=16384).contains(&w) && (16..=16384).contains(&h) => {
            if w % 2 == 1 || h % 2 == 1 {
                Err("width and height must be even".into())
            } else {
                Ok((w, h))
            }
        }
        Some(_) => Err("each side must be 16 to 16384".into()),
        None => Err("write it as 1280x720".into()),
    }
}

fn parse_unit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("a number from 0 to 1".into()),
    }
}

pub(super) fn parse_bitrate(text: &str) -> Result<u64, String> {
    match crate::encoder::read_rate(text) {
        Some(rate) if rate > 0.0 && rate <= 2e9 => Ok(rate as u64),
        _ => Err("write it as 2500k, 8M or 8000000".into()),
    }
}

pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "write it as 12.5, 1:30 or 1:02:03.25".to_string();
    let mut seconds = 0.0;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    for (i, part) in parts.iter().enumerate() {
        let value = if i + 1 == parts.len() {
            part.parse::<f64>().map_err(|_| wrong())?
        } else {
            f64::from(part.parse::<u32>().map_err(|_| wrong())?)
        };
        if !value.is_finite() || value < 0.0 {
            return Err(wrong());
        }
        seconds = seconds * 60.0 + value;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

impl Upscale {
    fn ground_truth(&self) -> Result<Option<ground_truth::Settings>, Failure> {
        let Some(input) = &self.measure else {
            return match first_given(&self.metrics, &self.pairing, &self.limits) {
                Some(option) => Err(Failure::usage(format!(
                    "{option} says how to measure; --measure GROUND_TRUTH, against what"
                ))),
                None => Ok(None),
            };
        };
        Ok(Some(ground_truth::Settings {
            input: input.clone(),
            metrics: self.metrics.metrics(),
            vmaf_model: self.metrics.vmaf_model(),
            lpips_model: self.metrics.lpips_model(),
            pairing: self.pairing.pairing(),
            tolerance: self.pairing.tolerance,
            fail_under: self.limits.fail_under.clone(),
            fail_over: self.limits.fail_over.clone(),
            encoded: self.measure_encoded,
        }))
    }

    pub(super) fn options(self) -> Result<Options, Failure> {
        if self.deadline.is_some() && self.qos_mode == "off" {
            return Err(Failure::usage("--deadline goes with --qos-mode fallback"));
        }
        let ground_truth = self.ground_truth()?;
        let mut element: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                element.push((name.into(), value));
            }
        };
        // The folder first: it decides what the name means.
        set("model-dir", self.model_dir);
        // Three times is four times and a filter: better than twice and a filter.
        let by_scale = self.scale.filter(|s| *s > 2).map(|_| "luma-x4".to_string());
        set(
            "model",
            Some(self.model.or(by_scale).unwrap_or_else(|| "luma-x2".into())),
        );
        set("device", self.device);
        set(
            "threads",
            (self.threads > 0).then(|| self.threads.to_string()),
        );
        set("tile", self.tile.map(|v| v.to_string()));
        set("overlap", self.overlap.map(|v| v.to_string()));
        set("batch-size", self.batch_size.map(|v| v.to_string()));
        set("mode", self.mode);
        set("alpha", self.alpha);
        set("strength", self.strength.map(|v| v.to_string()));
        set("stabilize", self.stabilize.map(|v| v.to_string()));
        set(
            "qos-mode",
            (self.qos_mode != "off").then_some(self.qos_mode),
        );
        set("fallback-filter", self.fallback_filter);
        set(
            "deadline",
            self.deadline
                .map(|d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX).to_string()),
        );
        set("compare-model", self.compare_model);
        set("compare", self.compare);
        set("split-pos", self.split_pos.map(|v| v.to_string()));
        Ok(Options {
            deinterlace: self.deinterlace == "auto",
            input: self.input,
            output: self.output,
            force: self.common.force,
            work: Work::Upscale,
            coding: Vec::new(),
            decoding: Vec::new(),
            element,
            scale: self.scale,
            size: self.size,
            codec: self.encoder,
            crf: self.crf,
            bitrate_bps: self.bitrate,
            preset: self.preset,
            threads: self.threads,
            start: self.selection.start,
            duration: self.selection.duration,
            wishes: self.selection.wishes(),
            stall: self.common.stall(),
            ground_truth,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sizes_and_rates() {
        assert_eq!(parse_time("90.5"), Ok(Duration::from_millis(90_500)));
        assert_eq!(parse_time("1:30"), Ok(Duration::from_secs(90)));
        assert_eq!(
            parse_time("1:00:01.25"),
            Ok(Duration::from_millis(3_601_250))
        );
        for wrong in ["", "-1", "1:2:3:4", "a", "1:-2", "inf", "NaN", "1e300"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_size("1280x720"), Ok((1280, 720)));
        for wrong in ["1280", "0x0", "1281x720", "99999x2", "x", "-2x4"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_bitrate("2500k"), Ok(2_500_000));
        assert_eq!(parse_bitrate("1.5M"), Ok(1_500_000));
        for wrong in ["", "k", "0", "-5", "1e99"] {
            assert!(parse_bitrate(wrong).is_err(), "{wrong}");
        }
    }
}
