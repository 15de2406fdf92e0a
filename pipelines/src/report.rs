//! What the program says: a bar or lines for people on stderr, JSON lines for scripts on stdout.

pub mod html;

use crate::failure::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// What the job is going to do.
#[derive(Debug, Clone, Serialize)]
pub struct Start {
    /// As given.
    pub input: String,
    /// As given.
    pub output: String,
    /// Of the source.
    pub width: u32,
    /// Of the source.
    pub height: u32,
    /// Of the output.
    pub out_width: u32,
    /// Of the output.
    pub out_height: u32,
    /// Name or path, where a network upscales.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Name.
    pub encoder: &'static str,
    /// Name.
    pub container: &'static str,
    /// Expected length.
    pub duration_s: Option<f64>,
    /// Expected number of frames, where the source has a frame rate.
    pub frames: Option<u64>,
    /// What happens to each stream of the source.
    pub streams: Vec<StreamLine>,
}

/// What happens to a stream.
#[derive(Debug, Clone, Serialize)]
pub struct StreamLine {
    /// `video`, `audio`, `subtitle`, `other`.
    pub kind: &'static str,
    /// Its codec in the source.
    pub codec: String,
    /// Its language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `upscale`, `copy`, `encode`, `decode` or `drop`.
    pub action: &'static str,
}

/// Where the job is.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    /// Frames finished.
    pub frames: u64,
    /// Frames expected.
    pub frames_total: Option<u64>,
    /// Time of the output reached.
    pub position_s: f64,
    /// Frames a second, over the last seconds.
    pub fps: f64,
    /// Seconds of video a second.
    pub speed: f64,
    /// Seconds left.
    pub eta_s: Option<f64>,
    /// Part done, 0 to 1.
    pub part: Option<f64>,
}

/// How it ended.
#[derive(Debug, Clone, Serialize)]
pub struct Done {
    /// `complete`, `partial` or `interrupted`.
    pub status: &'static str,
    /// The file.
    pub output: String,
    /// Its size.
    pub bytes: u64,
    /// Frames decoded.
    pub frames_in: u64,
    /// Frames muxed.
    pub frames_out: u64,
    /// Of the output.
    pub width: u32,
    /// Of the output.
    pub height: u32,
    /// Name or path, where a network upscales.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Length of the output.
    pub duration_s: f64,
    /// Time taken.
    pub wall_s: f64,
    /// Frames a second over all of it.
    pub fps: f64,
    /// What `nnupscale` counted.
    pub stats: BTreeMap<String, serde_json::Value>,
    /// The exit status.
    pub exit: i32,
}

#[derive(Serialize)]
struct Line<'a, T> {
    event: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<i32>,
}

/// The one who says it.
#[derive(Debug)]
pub struct Reporter {
    json: bool,
    quiet: bool,
    bar: Option<ProgressBar>,
    terminal: bool,
    last: Option<Instant>,
}

impl Reporter {
    /// `json`: events on stdout. `quiet`: no progress for people.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            bar: None,
            terminal: std::io::stderr().is_terminal(),
            last: None,
        }
    }

    fn emit<T: Serialize>(&self, event: &str, body: &T) {
        if !self.json {
            return;
        }
        if let Ok(line) = serde_json::to_string(&Line { event, body }) {
            let mut out = std::io::stdout().lock();
            // A reader that has gone away is no reason to lose the work.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// The job begins.
    pub fn start(&mut self, start: &Start) {
        self.emit("start", start);
        if self.quiet {
            return;
        }
        let model = start.model.as_ref().map(|m| format!("{m}, "));
        eprintln!(
            "{} {}x{} -> {} {}x{} ({}{}, {})",
            start.input,
            start.width,
            start.height,
            start.output,
            start.out_width,
            start.out_height,
            model.unwrap_or_default(),
            start.encoder,
            start.container
        );
        self.open_bar();
    }

    /// A job without an upscaled output begins: a line for people, a bar on a terminal.
    pub fn begin(&mut self, line: &str) {
        if !self.quiet {
            eprintln!("{line}");
            self.open_bar();
        }
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.last = None;
    }

    /// An event of a job, for scripts.
    pub fn event<T: Serialize>(&self, event: &str, body: &T) {
        self.emit(event, body);
    }

    /// Whether events go to stdout.
    pub fn is_json(&self) -> bool {
        self.json
    }

    fn open_bar(&mut self) {
        if self.terminal {
            let bar =
                ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(5));
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}") {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
    }

    /// Something worth knowing.
    pub fn warning(&mut self, code: &str, message: &str) {
        self.emit(
            "warning",
            &Text {
                code: Some(code),
                message,
                hint: None,
                exit: None,
            },
        );
        self.say(&format!("warning: {message}"));
    }

    /// Called often; writes seldom.
    pub fn progress(&mut self, progress: &Progress) {
        let line = format!(
            "{}{} frames, {:.1} fps, {:.2}x{}",
            progress.frames,
            progress
                .frames_total
                .map(|t| format!("/{t}"))
                .unwrap_or_default(),
            progress.fps,
            progress.speed,
            progress
                .eta_s
                .map(|s| format!(", {} left", clock(s)))
                .unwrap_or_default()
        );
        if let Some(bar) = &self.bar {
            bar.set_position((progress.part.unwrap_or(0.0) * 1000.0) as u64);
            bar.set_message(line.clone());
        }
        let every = if self.json { 1 } else { 5 };
        if self
            .last
            .is_some_and(|l| l.elapsed() < Duration::from_secs(every))
        {
            return;
        }
        let first = self.last.replace(Instant::now()).is_none();
        self.emit("progress", progress);
        if !first && !self.quiet && !self.json && self.bar.is_none() {
            eprintln!(
                "{}{line}",
                progress
                    .part
                    .map(|p| format!("{:3.0}% ", p * 100.0))
                    .unwrap_or_default()
            );
        }
    }

    /// The file is there.
    pub fn done(&mut self, done: &Done) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.emit("done", done);
        if !self.quiet {
            eprintln!(
                "{}: {} frames, {}x{}, {:.3} s, {:.1} MB in {} ({:.1} fps, {:.2}x){}",
                done.output,
                done.frames_out,
                done.width,
                done.height,
                done.duration_s,
                done.bytes as f64 / 1e6,
                clock(done.wall_s),
                done.fps,
                done.duration_s / done.wall_s.max(1e-9),
                if done.status == "complete" {
                    String::new()
                } else {
                    format!(" [{}]", done.status)
                }
            );
        }
    }

    /// It failed.
    pub fn error(&mut self, failure: &Failure) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.emit(
            "error",
            &Text {
                code: None,
                message: &failure.what,
                hint: failure.hint.as_deref(),
                exit: Some(failure.exit as i32),
            },
        );
        eprintln!("gst-neural: {failure}");
    }
}

fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}
