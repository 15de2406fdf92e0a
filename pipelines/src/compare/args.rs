//! The command line of `compare`.

use super::{Options, measure, pictures, upscale};
use crate::cli::common::{Common, Limits, Metrics, Pairing, Written};
use crate::failure::Failure;
use crate::rates;
use clap::Args;
use std::time::Duration;

/// Options that say how quality is measured; `compare` and `ladder` share them.
#[derive(Debug, Clone, Args)]
pub struct Measuring {
    #[command(flatten)]
    metrics: Metrics,
    /// Threads of each candidate's metrics; 0 = all cores
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Measuring")]
    threads: u32,
}

impl Measuring {
    /// Settings for `psnrsink`, the rest at its defaults.
    pub fn settings(&self, stall: Duration) -> measure::Settings {
        measure::Settings {
            metrics: self.metrics.metrics(),
            vmaf_model: self.metrics.vmaf_model(),
            lpips_model: self.metrics.lpips_model(),
            threads: self.threads,
            scale: "off".into(),
            pairing: "time".into(),
            tolerance: None,
            strict: false,
            frames: false,
            stall,
            max_queue: 0,
        }
    }
}

/// `gst-neural compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// What the others should look like: a path or a URI
    #[arg(value_name = "REF", required_unless_present = "bd_rate")]
    reference: Option<String>,
    /// What is measured against it
    #[arg(value_name = "DIST")]
    candidates: Vec<String>,

    #[command(flatten)]
    measuring: Measuring,
    /// Bring candidates of another size to the reference's: off, bicubic or lanczos
    #[arg(long, default_value = "off", value_parser = ["off", "bicubic", "lanczos"], help_heading = "Measuring")]
    scale: String,
    #[command(flatten)]
    pairing: Pairing,
    /// Missing, extra, repeated or late frames are an error
    #[arg(long, help_heading = "Measuring")]
    strict: bool,
    #[command(flatten)]
    limits: Limits,

    /// Shrink REF, upscale it with each of these networks and by bicubic, and measure those against REF
    #[arg(long, value_name = "MODEL,...", value_delimiter = ',', conflicts_with_all = ["candidates", "bd_rate"], help_heading = "Upscaling")]
    upscale: Vec<String>,
    /// How --upscale shrinks: lanczos, bilinear, catrom or mitchell, as `videoscale` has them
    #[arg(long, default_value = "lanczos", value_parser = ["lanczos", "bilinear", "catrom", "mitchell"], help_heading = "Upscaling")]
    downscale: String,
    /// Where to look for models by name
    #[arg(long, value_name = "DIR", help_heading = "Upscaling")]
    model_dir: Option<String>,
    /// Where the networks run: auto, cpu, ...
    #[arg(long, help_heading = "Upscaling")]
    device: Option<String>,

    /// Compare rate-distortion curves; the first is the anchor. NAME:RATE=QUALITY,... or NAME:FILE,... (encodes of REF), or a .csv or .json file of points
    #[arg(long, value_name = "CURVE", num_args = 1.., help_heading = "Curves")]
    bd_rate: Vec<String>,

    #[command(flatten)]
    written: Written,
    /// How many of each candidate's worst frames the report shows
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100), help_heading = "Output")]
    worst: u32,
    /// How the report stores pictures: auto is PNG up to 1280x720, JPEG above
    #[arg(long, value_enum, default_value = "auto", help_heading = "Output")]
    pictures: pictures::Format,
    /// How many times the report amplifies differences
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=255), help_heading = "Output")]
    amplify: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What there is to do.
#[derive(Debug)]
pub enum Task {
    /// Files against a reference.
    Files(Options),
    /// Networks against a reference.
    Upscalers(Options, upscale::Settings),
    /// Curves against curves; the options' candidates are the encodes among them.
    Curves(Options, Vec<rates::Given>),
}

impl Compare {
    /// Puts the arguments together.
    pub fn task(self, command: String) -> Result<Task, Failure> {
        let curves = self
            .bd_rate
            .iter()
            .map(|text| rates::Given::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        let encodes: Vec<String> = curves.iter().flat_map(|c| c.files().to_vec()).collect();
        if !curves.is_empty() {
            if !self.candidates.is_empty() {
                return Err(Failure::usage(
                    "--bd-rate takes the files itself: NAME:FILE,FILE",
                ));
            }
            match (&self.reference, encodes.is_empty()) {
                (None, false) => {
                    return Err(Failure::usage(
                        "encodes in --bd-rate need the reference: gst-neural compare REF --bd-rate ...",
                    ));
                }
                (Some(r), true) => {
                    return Err(Failure::usage(format!(
                        "{r}: there is nothing to measure, the points are given"
                    )));
                }
                _ => {}
            }
        } else if self.upscale.is_empty() && self.candidates.is_empty() {
            return Err(
                Failure::usage("compare: nothing to compare with the reference")
                    .hint("gst-neural compare REF DIST..., or --upscale MODEL,... REF"),
            );
        }
        let mut settings = self.measuring.settings(self.common.stall());
        settings.scale = self.scale;
        settings.pairing = self.pairing.pairing();
        settings.tolerance = self.pairing.tolerance;
        settings.strict = self.strict;
        let options = Options {
            reference: self.reference.unwrap_or_default(),
            candidates: if curves.is_empty() {
                self.candidates
            } else {
                encodes
            },
            settings,
            fail_under: self.limits.fail_under,
            fail_over: self.limits.fail_over,
            csv: self.written.csv,
            report: self.written.report,
            force: self.common.force,
            worst: self.worst as usize,
            pictures: self.pictures,
            amplify: self.amplify,
            command,
        };
        if !curves.is_empty() {
            return Ok(Task::Curves(options, curves));
        }
        if self.upscale.is_empty() {
            return Ok(Task::Files(options));
        }
        Ok(Task::Upscalers(
            options,
            upscale::Settings {
                models: self.upscale,
                downscale: self.downscale,
                model_dir: self.model_dir,
                device: self.device,
            },
        ))
    }
}

/// The command line as a shell would take it.
pub fn command_line() -> String {
    std::env::args_os()
        .enumerate()
        .map(|(i, a)| match i {
            0 => "gst-neural".to_string(),
            _ => quoted(&a.to_string_lossy()),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_for_a_shell() {
        assert_eq!(quoted("a-b.mp4"), "a-b.mp4");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
