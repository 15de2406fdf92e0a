//! Driving a pipeline to its end.

use crate::failure::{Exit, Failure};
use crate::graph::{Graph, SourceSide};
use crate::job::Options;
use crate::report::{Progress, Reporter};
use crate::timing::Control;
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How a run that left a usable file ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// With the input.
    Complete,
    /// The input broke before its end.
    Broken(Failure),
    /// By Ctrl-C.
    Interrupted,
}

/// How much of the stated length may be missing before the input counts as cut off.
pub(crate) fn tolerance_ns(expected_ns: u64) -> u64 {
    (expected_ns / 50).clamp(300_000_000, 1_000_000_000)
}

/// Runs `graph` until its file is complete.
pub fn run(
    graph: &Graph,
    options: &Options,
    control: &Control,
    expected_ns: Option<u64>,
    frames: Option<u64>,
    interrupts: &Arc<AtomicUsize>,
    reporter: &mut Reporter,
) -> Result<Ending, Failure> {
    let bus = graph
        .pipeline
        .bus()
        .ok_or_else(|| Failure::new("a pipeline without a bus"))?;
    let start_ns = options
        .start
        .map(|s| s.as_nanos() as u64)
        .filter(|s| *s > 0);
    let started = graph.pipeline.set_state(gst::State::Playing);
    let mut ending = Ending::Complete;
    let mut connected = false;
    let mut activity = (graph.activity(), Instant::now());
    let mut meter = Meter::default();
    let mut warned = 0u32;
    loop {
        let message = bus.timed_pop_filtered(
            gst::ClockTime::from_mseconds(if connected { 100 } else { 5 }),
            &[
                gst::MessageType::Error,
                gst::MessageType::Eos,
                gst::MessageType::Warning,
                gst::MessageType::Element,
            ],
        );
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => break,
            Some(gst::MessageView::Error(e)) => {
                let failure = Failure::from_gst(e);
                match graph.is_source_side(e.src()) {
                    Some(SourceSide::GroundTruth) => {
                        if let Some(check) = graph.check() {
                            check.breaks(failure);
                        }
                    }
                    Some(side) if connected => {
                        if matches!(ending, Ending::Complete) {
                            ending = Ending::Broken(failure);
                            graph.end_all(side == SourceSide::Decoder);
                        }
                    }
                    _ => return Err(failure),
                }
            }
            Some(gst::MessageView::Element(e)) => {
                if let Some(check) = graph.check() {
                    check.take(e.message());
                }
            }
            Some(gst::MessageView::Warning(w)) => {
                warned += 1;
                if warned <= 3 {
                    let text = w.error().message().to_string();
                    reporter.warning("element", text.trim_end_matches('.'));
                }
            }
            _ => {}
        }
        if started.is_err() && message.is_none() {
            return Err(Failure::new("the pipeline does not start"));
        }
        if !connected && graph.is_complete() {
            graph.connect(start_ns)?;
            connected = true;
        }
        match interrupts.load(Ordering::SeqCst) {
            0 => {}
            1 => {
                if !matches!(ending, Ending::Interrupted) {
                    ending = Ending::Interrupted;
                    control.stop.store(true, Ordering::SeqCst);
                    reporter.warning(
                        "stopping",
                        "finishing the file; Ctrl-C again to throw it away",
                    );
                }
                if !connected {
                    return Ok(ending);
                }
            }
            _ => {
                return Err(Failure {
                    exit: Exit::Interrupted,
                    ..Failure::new("interrupted twice; nothing was written")
                });
            }
        }
        let now = graph.activity();
        if now != activity.0 {
            activity = (now, Instant::now());
        } else if activity.1.elapsed() > options.stall {
            return Err(Failure::new(format!(
                "nothing moved for {} s (at frame {}); given up",
                options.stall.as_secs(),
                graph.counts().frames_out
            ))
            .hint("--stall-timeout sets how long to wait"));
        }
        let counts = graph.counts();
        if connected && counts.frames_out > 0 {
            reporter.progress(&meter.progress(
                counts.frames_out,
                counts.frames_in,
                counts.video_end_ns,
                expected_ns,
                frames,
            ));
        }
    }
    if matches!(ending, Ending::Complete)
        && options.duration.is_none()
        && let Some(expected) = expected_ns
    {
        let reached = graph
            .counts()
            .reached_ns
            .saturating_sub(start_ns.unwrap_or(0));
        if reached + tolerance_ns(expected) < expected {
            ending = Ending::Broken(Failure::new(format!(
                "it ends there, though it says to be {:.3} s long",
                (expected + start_ns.unwrap_or(0)) as f64 / 1e9
            )));
        }
    }
    Ok(ending)
}

/// Speed over the last seconds.
#[derive(Debug, Default)]
struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    fn progress(
        &mut self,
        frames: u64,
        frames_in: u64,
        video_end_ns: u64,
        expected_ns: Option<u64>,
        frames_total: Option<u64>,
    ) -> Progress {
        let now = Instant::now();
        if self
            .samples
            .back()
            .is_none_or(|(t, _)| now - *t >= Duration::from_millis(200))
        {
            self.samples.push_back((now, frames));
        }
        while self.samples.len() > 2
            && self
                .samples
                .front()
                .is_some_and(|(t, _)| now - *t > Duration::from_secs(10))
        {
            self.samples.pop_front();
        }
        let fps = match self.samples.front() {
            Some((t, n)) if now > *t => (frames - n) as f64 / (now - *t).as_secs_f64(),
            _ => 0.0,
        };
        // The frames under way count as not done.
        let position_s = video_end_ns as f64 / 1e9 * frames as f64 / frames_in.max(1) as f64;
        let speed = if frames > 0 {
            fps * position_s / frames as f64
        } else {
            0.0
        };
        let total_s = expected_ns.map(|ns| ns as f64 / 1e9);
        let part = total_s
            .filter(|t| *t > 0.0)
            .map(|t| (position_s / t).clamp(0.0, 1.0));
        let eta_s = total_s
            .filter(|_| speed > 0.0)
            .map(|t| ((t - position_s) / speed).max(0.0));
        Progress {
            frames,
            frames_total: frames_total.filter(|t| *t >= frames),
            position_s,
            fps,
            speed,
            eta_s,
            part,
        }
    }
}
