//! The command line.

pub mod common;
mod decode;
mod encode;
mod upscale;

use crate::compare::args::{Compare, Task, command_line};
use crate::compare::{self, upscale as upscalers};
use crate::failure::{Exit, Failure};
use crate::ladder::{self, Ladder};
use crate::live;
use crate::rates;
use crate::report::Reporter;
use crate::{doctor, job, models, plugins};
use clap::{Parser, Subcommand};
use decode::Decode;
use encode::Encode;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use upscale::Upscale;
pub(crate) use upscale::parse_size;

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    error; nothing was written under the output's name
  2    the command line makes no sense
  3    the input broke before its end; what was decoded is kept
  4    written, but a limit of --fail-under or --fail-over is not kept, or nothing could be measured
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
    /// Code a video by the codec of this project, into an .mkv; sound, subtitles and times stay as they are
    #[command(after_help = EXIT_CODES)]
    Encode(Box<Encode>),
    /// Make a video that other programs read of one that `encode` made
    #[command(after_help = EXIT_CODES)]
    Decode(Box<Decode>),
    /// Measure videos against a reference; tables, per-frame values, an HTML report
    #[command(after_help = EXIT_CODES)]
    Compare(Box<Compare>),
    /// Encode a clip with several encoders and qualities: rate-distortion curves, BD-rates
    #[command(after_help = EXIT_CODES)]
    Ladder(Box<Ladder>),
    /// Live: RTMP or SRT in, upscaled adaptive HLS out
    Live(Box<live::args::Live>),
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
            reporter = Reporter::new(args.common.json, args.common.quiet);
            job::run(&args.options()?, &signals()?, &mut reporter)
        }
        Command::Encode(args) => {
            reporter = Reporter::new(args.common.json, args.common.quiet);
            job::run(&args.options(), &signals()?, &mut reporter)
        }
        Command::Decode(args) => {
            reporter = Reporter::new(args.common.json, args.common.quiet);
            job::run(&args.options(), &signals()?, &mut reporter)
        }
        Command::Compare(args) => {
            reporter = Reporter::new(args.common.json, args.common.quiet);
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
            reporter = Reporter::new(args.common.json, args.common.quiet);
            ladder::run(&args, &command_line(), &signals()?, &mut reporter)
        }
        Command::Live(args) => {
            reporter = Reporter::new(args.json, args.quiet);
            live::app::run(&args, &signals()?, &mut reporter)
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
}
