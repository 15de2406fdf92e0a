//! The command line.

use crate::compare::args::{Compare, Task, command_line};
use crate::compare::{self, upscale as upscalers};
use crate::encoder::Codec;
use crate::failure::{Exit, Failure};
use crate::job::{self, Options};
use crate::ladder::{self, Ladder};
use crate::plan::Wishes;
use crate::rates;
use crate::report::Reporter;
use crate::{doctor, models, plugins};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    error; nothing was written under the output's name
  2    the command line makes no sense
  3    the input broke before its end; what was decoded is kept
  4    compare: measured, but a limit of --fail-under or --fail-over is not kept
  130  stopped by Ctrl-C; what was done is kept (a second Ctrl-C throws it away)";

/// Streaming super-resolution on GStreamer.
#[derive(Debug, Parser)]
#[command(name = "gst-neural", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Upscale a video file; sound, subtitles, times and colour stay as they are
    #[command(after_help = EXIT_CODES)]
    Upscale(Box<Upscale>),
    /// Measure videos against a reference; tables, per-frame values, an HTML report
    #[command(after_help = EXIT_CODES)]
    Compare(Box<Compare>),
    /// Encode a clip with several encoders and qualities: rate-distortion curves, BD-rates
    #[command(after_help = EXIT_CODES)]
    Ladder(Box<Ladder>),
    /// The networks: which there are, whether they load, how fast they are
    Models {
        #[command(subcommand)]
        what: Models,
        /// A folder of models to look in first
        #[arg(long, global = true, value_name = "DIR")]
        model_dir: Option<PathBuf>,
    },
    /// What is installed, what is missing, and the command that mends it
    Doctor,
}

#[derive(Debug, Subcommand)]
enum Models {
    /// Names, aliases and files
    List,
    /// What is known of one
    Info {
        /// Name or file
        name: String,
    },
    /// Load one, or all
    Verify {
        /// Name or file
        name: Option<String>,
    },
    /// Frames a second in the element
    Bench {
        /// Name or file
        name: String,
        /// Size of the input
        #[arg(long, default_value = "640x360", value_parser = parse_size)]
        size: (u32, u32),
        /// Number of frames
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
        frames: u32,
    },
}

#[derive(Debug, Args)]
struct Upscale {
    /// The video: a path or a URI
    input: String,
    /// The file to make; its extension says the container: .mp4 .mkv .webm .mov .ts
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

    /// Begin here: seconds, MM:SS or HH:MM:SS, with a fraction
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Selection")]
    start: Option<Duration>,
    /// Take so much
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Selection")]
    duration: Option<Duration>,
    /// Leave the sound out
    #[arg(long, help_heading = "Selection")]
    no_audio: bool,
    /// Leave the subtitles out
    #[arg(long, help_heading = "Selection")]
    no_subtitles: bool,

    /// Overwrite the output
    #[arg(long, short)]
    force: bool,
    /// One line of JSON per event on stdout
    #[arg(long)]
    json: bool,
    /// No progress on stderr (warnings and errors stay)
    #[arg(long, short)]
    quiet: bool,
    /// Give up when nothing moved for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: u64,
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
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

fn parse_bitrate(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((i, 'k' | 'K')) => (&text[..i], 1e3),
        Some((i, 'm' | 'M')) => (&text[..i], 1e6),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(v) if v.is_finite() && v > 0.0 && v * factor <= 2e9 => Ok((v * factor) as u64),
        _ => Err("write it as 2500k, 8M or 8000000".into()),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
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
    fn options(self) -> Result<Options, Failure> {
        if self.duration.is_some_and(|d| d.is_zero()) {
            return Err(Failure::usage("--duration 0: nothing to do"));
        }
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
        set("compare-model", self.compare_model);
        set("compare", self.compare);
        set("split-pos", self.split_pos.map(|v| v.to_string()));
        Ok(Options {
            input: self.input,
            output: self.output,
            force: self.force,
            element,
            scale: self.scale,
            size: self.size,
            codec: self.encoder,
            crf: self.crf,
            bitrate_bps: self.bitrate,
            preset: self.preset,
            threads: self.threads,
            start: self.start,
            duration: self.duration,
            wishes: Wishes {
                no_audio: self.no_audio,
                no_subtitles: self.no_subtitles,
            },
            stall: Duration::from_secs(self.stall_timeout),
        })
    }
}

/// Counts SIGINT and SIGTERM, and turns SIGXFSZ into a failing write.
fn signals() -> Result<Arc<AtomicUsize>, Failure> {
    let count = Arc::new(AtomicUsize::new(0));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let count = Arc::clone(&count);
        // SAFETY: an atomic addition is all that happens in the handler.
        let installed = unsafe {
            signal_hook::low_level::register(signal, move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
        };
        installed.map_err(|e| Failure::new(format!("signal handlers: {e}")))?;
    }
    // SAFETY: the handler does nothing; without one, a write over the size limit would end the program.
    let _ = unsafe { signal_hook::low_level::register(signal_hook::consts::SIGXFSZ, || {}) };
    Ok(count)
}

/// Runs the program and returns its exit status.
pub fn run() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() {
                Exit::Usage as i32
            } else {
                Exit::Ok as i32
            };
        }
    };
    let mut reporter = Reporter::new(false, false);
    let result = plugins::init().and_then(|()| match cli.command {
        Command::Upscale(args) => {
            reporter = Reporter::new(args.json, args.quiet);
            job::upscale(&args.options()?, &signals()?, &mut reporter)
        }
        Command::Compare(args) => {
            reporter = Reporter::new(args.json, args.quiet);
            let interrupts = signals()?;
            match args.task(command_line())? {
                Task::Files(options) => compare::run(&options, &interrupts, &mut reporter),
                Task::Upscalers(options, settings) => {
                    upscalers::run(&options, &settings, &interrupts, &mut reporter)
                }
                Task::Curves(options, given) => {
                    rates::run(&options, given, &interrupts, &mut reporter)
                }
            }
        }
        Command::Ladder(args) => {
            reporter = Reporter::new(args.json, args.quiet);
            ladder::run(&args, &command_line(), &signals()?, &mut reporter)
        }
        Command::Models { what, model_dir } => {
            let dir = model_dir.as_deref();
            match what {
                Models::List => models::list(dir),
                Models::Info { name } => models::info(dir, &name),
                Models::Verify { name } => models::verify(dir, name.as_deref()),
                Models::Bench { name, size, frames } => {
                    models::bench(dir, &name, size.0, size.1, frames)
                }
            }
        }
        Command::Doctor => doctor::run(),
    });
    match result {
        Ok(exit) => exit as i32,
        Err(failure) => {
            reporter.error(&failure);
            failure.exit as i32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

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
