//! Options that several commands have in common.

use super::upscale::parse_time;
use crate::plan::Wishes;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// How a job behaves towards its surroundings.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Overwrite files that exist
    #[arg(long, short)]
    pub force: bool,
    /// One line of JSON per event on stdout
    #[arg(long)]
    pub json: bool,
    /// No progress on stderr (warnings and errors stay)
    #[arg(long, short)]
    pub quiet: bool,
    /// Give up when nothing moved for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

impl Common {
    /// How long nothing may move.
    pub fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_timeout)
    }
}

/// Which part of the input is taken.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// Begin here: seconds, MM:SS or HH:MM:SS, with a fraction
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Selection")]
    pub start: Option<Duration>,
    /// Take so much
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Selection")]
    pub duration: Option<Duration>,
    /// Leave the sound out
    #[arg(long, help_heading = "Selection")]
    no_audio: bool,
    /// Leave the subtitles out
    #[arg(long, help_heading = "Selection")]
    no_subtitles: bool,
}

impl Selection {
    /// What becomes of streams other than the video.
    pub fn wishes(&self) -> Wishes {
        Wishes {
            no_audio: self.no_audio,
            no_subtitles: self.no_subtitles,
        }
    }
}

/// Where a measurement is written, besides the table.
#[derive(Debug, Clone, Args)]
pub struct Written {
    /// Write the values of every frame (of curves: of every point) to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub csv: Option<PathBuf>,
    /// Write a report: one HTML file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub report: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Args)]
pub struct Metrics {
    /// What to measure: psnr, ssim, float-ssim, ms-ssim, vmaf, vmaf-features, cambi, ciede2000, psnr-hvs, temporal, lpips, net-distance [default: psnr,ssim,vmaf]
    #[arg(long, value_name = "LIST", help_heading = "Measuring")]
    metrics: Option<String>,
    /// VMAF's models: v0.6.1, neg, 4k, 4k-neg, phone, or JSON files [default: v0.6.1]
    #[arg(long, value_name = "LIST", help_heading = "Measuring")]
    vmaf_model: Option<String>,
    /// The ONNX file for lpips and net-distance, which does not come with gst-neural
    #[arg(long, value_name = "FILE", help_heading = "Measuring")]
    lpips_model: Option<PathBuf>,
}

impl Metrics {
    /// The list, with commas.
    pub fn metrics(&self) -> String {
        self.metrics
            .clone()
            .unwrap_or_else(|| "psnr,ssim,vmaf".into())
    }

    /// VMAF's models with commas; empty = the default.
    pub fn vmaf_model(&self) -> String {
        self.vmaf_model.clone().unwrap_or_default()
    }

    /// The network of `lpips` and `net-distance`.
    pub fn lpips_model(&self) -> Option<PathBuf> {
        self.lpips_model.clone()
    }

    fn given(&self) -> Option<&'static str> {
        self.metrics
            .as_ref()
            .map(|_| "--metrics")
            .or(self.vmaf_model.as_ref().map(|_| "--vmaf-model"))
            .or(self.lpips_model.as_ref().map(|_| "--lpips-model"))
    }
}

/// How frames find each other.
#[derive(Debug, Clone, Args)]
pub struct Pairing {
    /// How frames find each other: time or count [default: time]
    #[arg(long, value_parser = ["time", "count"], help_heading = "Measuring")]
    pairing: Option<String>,
    /// How far apart the times of a pair may be, in milliseconds [default: half a frame]
    #[arg(long, value_name = "MS", value_parser = milliseconds, help_heading = "Measuring")]
    pub tolerance: Option<Duration>,
}

impl Pairing {
    /// `time` or `count`.
    pub fn pairing(&self) -> String {
        self.pairing.clone().unwrap_or_else(|| "time".into())
    }

    fn given(&self) -> Option<&'static str> {
        self.pairing
            .as_ref()
            .map(|_| "--pairing")
            .or(self.tolerance.map(|_| "--tolerance"))
    }
}

/// Values that have to be kept.
#[derive(Debug, Clone, Args)]
pub struct Limits {
    /// Least values, such as vmaf=80,psnr-y.min=30; pools: mean harmonic min max p1 p5; exit code 4 where one is not kept
    #[arg(long, value_name = "LIMITS", help_heading = "Measuring")]
    pub fail_under: Option<String>,
    /// Greatest values, for what is better when it is less, such as cambi=5
    #[arg(long, value_name = "LIMITS", help_heading = "Measuring")]
    pub fail_over: Option<String>,
}

impl Limits {
    fn given(&self) -> Option<&'static str> {
        self.fail_under
            .as_ref()
            .map(|_| "--fail-under")
            .or(self.fail_over.as_ref().map(|_| "--fail-over"))
    }
}

/// The first option among these that was given.
pub fn first_given(metrics: &Metrics, pairing: &Pairing, limits: &Limits) -> Option<&'static str> {
    metrics
        .given()
        .or_else(|| pairing.given())
        .or_else(|| limits.given())
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(v) if v >= 0.0 => Duration::try_from_secs_f64(v / 1e3).map_err(|e| e.to_string()),
        _ => Err("a number of milliseconds".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_read() {
        assert_eq!(milliseconds("1.5"), Ok(Duration::from_micros(1500)));
        assert!(milliseconds("-1").is_err() && milliseconds("NaN").is_err());
    }
}
