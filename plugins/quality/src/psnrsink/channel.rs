//! What is measured on one distorted pad, and the faults that are found there.

use std::collections::VecDeque;

use gstneural_metrics::{
    Column, Comparer, Config, FrameScores, Summary as Collected, psnr::squared_error,
};
use gstneural_pixels::{FrameRef, Rect, rect_equal};

use super::{
    frames,
    log::Pair,
    messages::{Fault, FaultCounts, FaultKind, PadSummary},
    queues::{Item, Task},
};

/// A reference that changes less than this from one frame to the next, as a mean squared
/// difference of 8-bit luma, may well be coded as a still picture.
const STILL_MSE: f64 = 1.0;
/// Relative difference from which two frame rates are different: less than that of 29.97 and 30.
const RATE_TOLERANCE: f64 = 2e-4;
/// A frame is late from this part of the tolerance on.
const LATE_PART: u64 = 4;
/// Containers round times to a millisecond.
const ROUNDING_NS: u64 = 1_100_000;

/// Faults of one kind in a row.
#[derive(Debug)]
struct Run {
    kind: FaultKind,
    frame: u64,
    count: u64,
    running_time: Option<u64>,
}

/// What came of a task.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub scores: Vec<(Pair, FrameScores)>,
    pub faults: Vec<Fault>,
}

/// A failure, in words for the bus.
#[derive(Debug)]
pub(super) struct Failure(pub String);

#[derive(Debug)]
pub(super) struct Channel {
    pad: String,
    config: Config,
    comparer: Option<Comparer>,
    collected: Option<Collected>,
    /// Pairs whose scores have not come yet.
    pending: VecDeque<Pair>,
    previous: Option<(Item, Item)>,
    run: Option<Run>,
    counts: FaultCounts,
    rate_checked: bool,
    by_time: bool,
}

impl Channel {
    pub fn new(pad: &str, config: &Config, by_time: bool) -> Self {
        Self {
            pad: pad.to_owned(),
            config: config.clone(),
            comparer: None,
            collected: None,
            pending: VecDeque::new(),
            previous: None,
            run: None,
            counts: FaultCounts::default(),
            rate_checked: false,
            by_time,
        }
    }

    pub fn pad(&self) -> &str {
        &self.pad
    }

    pub fn columns(&self) -> &[Column] {
        self.comparer.as_ref().map_or(&[], Comparer::columns)
    }

    pub fn collected(&self) -> Option<&Collected> {
        self.collected.as_ref()
    }

    /// Does a task.
    pub fn run(&mut self, task: Task) -> Result<Outcome, Failure> {
        let mut out = Outcome::default();
        match task {
            Task::Pair {
                reference,
                distorted,
                late_ns,
                tolerance_ns,
            } => {
                let late = self.lateness(late_ns, tolerance_ns);
                self.pair(reference, distorted, late, &mut out)?;
            }
            Task::Missing(item) => self.fault(FaultKind::Missing, &item, &mut out),
            Task::Extra {
                distorted,
                repeated,
            } => {
                let kind = match repeated {
                    true => FaultKind::Repeated,
                    false => FaultKind::Extra,
                };
                self.fault(kind, &distorted, &mut out);
            }
            Task::Done {
                reference,
                distorted,
            } => self.done(reference, distorted, &mut out)?,
            Task::NoTime { pad, number } => {
                return Err(Failure(format!(
                    "frame {number} of {pad} has no timestamp; set pairing=count to pair without"
                )));
            }
        }
        Ok(out)
    }

    fn pair(
        &mut self,
        reference: Item,
        distorted: Item,
        mut fault: Option<FaultKind>,
        out: &mut Outcome,
    ) -> Result<(), Failure> {
        self.check_rate(&reference, &distorted, out);
        let failed = |e: &dyn std::fmt::Display| {
            Failure(format!("{}: frame {}: {e}", self.pad, reference.number))
        };
        let map = |item: &Item| {
            gst_video::VideoFrame::from_buffer_readable(item.buffer.clone(), &item.info.video)
                .map_err(|_| Failure(format!("{}: a frame cannot be mapped", self.pad)))
        };
        let (r, d) = (map(&reference)?, map(&distorted)?);
        let (r, d) = (r.as_video_frame_ref(), d.as_video_frame_ref());
        let r = frames::read(&r, &reference.info).map_err(|e| failed(&e))?;
        let d = frames::read(&d, &distorted.info).map_err(|e| failed(&e))?;

        let scores = match &mut self.comparer {
            Some(comparer) => comparer.push(&r, &d),
            none => Comparer::new(&self.config, &r).and_then(|comparer| {
                self.collected = Some(Collected::new(comparer.columns()));
                none.insert(comparer).push(&r, &d)
            }),
        };
        let scores = scores.map_err(|e| failed(&e))?;
        if self.frozen(&r, &d) {
            fault = Some(FaultKind::Repeated);
        }
        match fault {
            Some(FaultKind::Repeated) => self.fault(FaultKind::Repeated, &distorted, out),
            Some(kind) => self.fault(kind, &reference, out),
            None => self.end_run(out),
        }
        self.pending.push_back(Pair {
            pad: self.pad.clone(),
            frame: reference.number,
            distorted_frame: distorted.number,
            running_time: reference.running_time,
        });
        self.previous = Some((reference, distorted));
        self.take(scores, out);
        Ok(())
    }

    /// Whether a frame that was paired is late or early all the same.
    fn lateness(&self, late_ns: i64, tolerance_ns: u64) -> Option<FaultKind> {
        if !self.by_time || late_ns.unsigned_abs() <= (tolerance_ns / LATE_PART).max(ROUNDING_NS) {
            return None;
        }
        Some(match late_ns > 0 {
            true => FaultKind::Late,
            false => FaultKind::Early,
        })
    }

    /// Whether the distorted picture is the previous one while the reference moved on.
    fn frozen(&self, r: &FrameRef<'_>, d: &FrameRef<'_>) -> bool {
        let Some((before_r, before_d)) = &self.previous else {
            return false;
        };
        let whole = Rect {
            x: 0,
            y: 0,
            w: d.width(),
            h: d.height(),
        };
        let with = |item: &Item, f: &dyn Fn(&FrameRef<'_>) -> bool| {
            gst_video::VideoFrameRef::from_buffer_ref_readable(&item.buffer, &item.info.video)
                .is_ok_and(|mapped| frames::read(&mapped, &item.info).is_ok_and(|frame| f(&frame)))
        };
        let moved = |before: &FrameRef<'_>| {
            let (a, b) = (before.component(0), r.component(0));
            if (a.width(), a.height(), a.depth()) != (b.width(), b.height(), b.depth()) {
                return false;
            }
            let unit = f64::from(1u32 << a.depth().saturating_sub(8));
            let samples = (a.width() * a.height()) as f64;
            squared_error(&a, &b) as f64 / samples / (unit * unit) >= STILL_MSE
        };
        with(before_d, &|before| rect_equal(before, d, whole)) && with(before_r, &moved)
    }

    fn check_rate(&mut self, reference: &Item, distorted: &Item, out: &mut Outcome) {
        if std::mem::replace(&mut self.rate_checked, true) {
            return;
        }
        let (Some(r), Some(d)) = (reference.info.rate(), distorted.info.rate()) else {
            return;
        };
        if (r / d - 1.0).abs() > RATE_TOLERANCE {
            out.faults.push(Fault {
                pad: self.pad.clone(),
                kind: FaultKind::FrameRate,
                frame: reference.number,
                count: 1,
                running_time: reference.running_time.map(gst::ClockTime::from_nseconds),
                text: format!(
                    "{}: {d:.3} frames per second, the reference has {r:.3}",
                    self.pad
                ),
            });
        }
    }

    /// Counts a fault, and adds it to the run of its kind or begins one.
    fn fault(&mut self, kind: FaultKind, item: &Item, out: &mut Outcome) {
        match kind {
            FaultKind::Missing => self.counts.missing += 1,
            FaultKind::Extra => self.counts.extra += 1,
            FaultKind::Repeated => self.counts.repeated += 1,
            _ => self.counts.late += 1,
        }
        match &mut self.run {
            Some(run) if run.kind == kind && run.frame + run.count == item.number => run.count += 1,
            _ => {
                self.end_run(out);
                self.run = Some(Run {
                    kind,
                    frame: item.number,
                    count: 1,
                    running_time: item.running_time,
                });
            }
        }
    }

    /// The fault that is being counted, as far as it has come; for `strict`.
    pub fn open_fault(&self) -> Option<Fault> {
        self.run.as_ref().map(|run| self.describe(run))
    }

    fn end_run(&mut self, out: &mut Outcome) {
        if let Some(run) = self.run.take() {
            out.faults.push(self.describe(&run));
        }
    }

    fn describe(&self, run: &Run) -> Fault {
        let frames = match run.count {
            1 => format!("frame {}", run.frame),
            n => format!("frames {} to {}", run.frame, run.frame + n - 1),
        };
        let what = match run.kind {
            FaultKind::Missing => format!("{frames} of the reference: no distorted frame"),
            FaultKind::Extra => format!("{frames}: no frame of the reference"),
            FaultKind::Repeated => format!("{frames}: the frame before again"),
            FaultKind::Late => format!("{frames} of the reference: the distorted frame is late"),
            _ => format!("{frames} of the reference: the distorted frame is early"),
        };
        Fault {
            pad: self.pad.clone(),
            kind: run.kind,
            frame: run.frame,
            count: run.count,
            running_time: run.running_time.map(gst::ClockTime::from_nseconds),
            text: format!("{}: {what}", self.pad),
        }
    }

    fn done(&mut self, reference: u64, distorted: u64, out: &mut Outcome) -> Result<(), Failure> {
        self.end_run(out);
        if reference != distorted {
            out.faults.push(Fault {
                pad: self.pad.clone(),
                kind: FaultKind::Length,
                frame: reference.min(distorted),
                count: reference.abs_diff(distorted),
                running_time: None,
                text: format!(
                    "{}: {distorted} frames, the reference has {reference}",
                    self.pad
                ),
            });
        }
        if let Some(comparer) = &mut self.comparer {
            let scores = comparer
                .finish()
                .map_err(|e| Failure(format!("{}: {e}", self.pad)))?;
            self.take(scores, out);
        }
        Ok(())
    }

    fn take(&mut self, scores: Vec<FrameScores>, out: &mut Outcome) {
        for scores in scores {
            if let Some(collected) = &mut self.collected {
                collected.add(&scores);
            }
            if let Some(pair) = self.pending.pop_front() {
                out.scores.push((pair, scores));
            }
        }
    }

    pub fn summary(&self) -> PadSummary {
        let collected = self.collected.as_ref();
        PadSummary {
            pad: self.pad.clone(),
            frames: collected.map_or(0, Collected::frames),
            identical: collected.map_or(0, Collected::identical),
            faults: self.counts,
            metrics: self
                .columns()
                .iter()
                .filter_map(|c| Some((c.name.clone(), collected?.pooled(&c.name)?)))
                .collect(),
        }
    }
}
