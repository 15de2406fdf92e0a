//! The thread that takes frames from the queues, measures them and tells what it found.
//!
//! It works only while the element is in PLAYING. What it does for several distorted pads at once
//! runs in threads of its own.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};
use gstneural_metrics::{FrameScores, Violation};

use super::{
    channel::{Channel, Failure, Outcome},
    log::{Log, Pair},
    messages::{Frame, Summary},
    queues::{Queues, Task},
    settings::Plan,
};

/// What pads, state changes and the worker share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub state: Mutex<State>,
    /// Something in the state has changed.
    pub changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub queues: Queues,
    /// Between READY and PAUSED and back.
    pub running: bool,
    pub playing: bool,
    /// An error was posted: pads take nothing more.
    pub failed: bool,
    /// Everything was measured, and EOS was posted.
    pub finished: bool,
    pub seqnum: Option<gst::Seqnum>,
    pub summary: Option<gst::Structure>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn wait<'a>(&self, guard: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(guard).unwrap_or_else(|e| e.into_inner())
    }

    fn wait_for<'a>(&self, guard: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        match self.changed.wait_timeout(guard, time) {
            Ok((guard, _)) => guard,
            Err(e) => e.into_inner().0,
        }
    }
}

/// How long an application may take to stop after EOS before the bin is asked to look again.
const PATIENCE: Duration = Duration::from_secs(1);

/// How one run of the worker ends.
enum End {
    Stopped,
    Failed(gst::StreamError, String),
    Complete,
}

pub(super) struct Worker {
    pub element: super::PsnrSink,
    pub shared: Arc<Shared>,
    pub plan: Plan,
    pub log: Option<Log>,
    pub channels: Vec<Channel>,
}

impl Worker {
    /// Runs until the element stops.
    pub fn run(mut self) {
        match self.work() {
            End::Stopped => {}
            End::Failed(code, text) => self.fail(code, &text),
            End::Complete => self.complete(),
        }
    }

    fn work(&mut self) -> End {
        let shared = self.shared.clone();
        let mut stalled: Option<Instant> = None;
        let mut state = shared.lock();
        loop {
            if !state.running || state.failed {
                return End::Stopped;
            }
            if !state.playing {
                stalled = None;
                state = shared.wait(state);
                continue;
            }
            let tasks = state.queues.tasks();
            if tasks.is_empty() {
                if state.queues.all_done() {
                    return End::Complete;
                }
                match self.stall(&state.queues, &mut stalled) {
                    Ok(Some(left)) => state = shared.wait_for(state, left),
                    Ok(None) => state = shared.wait(state),
                    Err(text) => return End::Failed(gst::StreamError::Failed, text),
                }
                continue;
            }
            stalled = None;
            // Pads may put more in their queues meanwhile.
            shared.changed.notify_all();
            drop(state);
            if let Err(Failure(text)) = self.measure(tasks) {
                return End::Failed(gst::StreamError::Failed, text);
            }
            state = shared.lock();
        }
    }

    /// How long to wait when there is nothing to do: None until something happens. An error when
    /// one pad has been full and another without a frame for too long.
    fn stall(
        &self,
        queues: &Queues,
        since: &mut Option<Instant>,
    ) -> Result<Option<Duration>, String> {
        let (Some(full), Some(limit)) = (queues.full(), self.plan.stall_timeout_ns) else {
            *since = None;
            return Ok(None);
        };
        let limit = Duration::from_nanos(limit);
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        if waited < limit {
            return Ok(Some(limit - waited));
        }
        let names: Vec<_> = queues
            .blockers(&full.name)
            .iter()
            .map(|s| s.name.clone())
            .collect();
        Err(format!(
            "{} has been full ({} frames) for {:.0} s while {} got no frame: let the queues \
             before psnrsink hold more (max-size-buffers, max-size-bytes=0, max-size-time=0), or \
             raise max-queue; stall-timeout=0 waits forever",
            full.name,
            full.items.len(),
            limit.as_secs_f64(),
            match names.is_empty() {
                true => "another pad".to_owned(),
                false => names.join(", "),
            }
        ))
    }

    fn measure(&mut self, tasks: Vec<(String, Task)>) -> Result<(), Failure> {
        for (pad, _) in &tasks {
            if !self.channels.iter().any(|c| c.pad() == pad) {
                let channel = Channel::new(pad, &self.plan.config, self.plan.by_time);
                self.channels.push(channel);
            }
        }
        let mut tasks = tasks;
        let mut jobs: Vec<(&mut Channel, Task)> = Vec::with_capacity(tasks.len());
        for channel in &mut self.channels {
            if let Some(at) = tasks.iter().position(|(pad, _)| pad == channel.pad()) {
                jobs.push((channel, tasks.swap_remove(at).1));
            }
        }
        let outcomes: Vec<(usize, Result<Outcome, Failure>)> = if jobs.len() == 1 {
            jobs.into_iter()
                .map(|(c, task)| c.run(task))
                .enumerate()
                .collect()
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = jobs
                    .into_iter()
                    .map(|(channel, task)| scope.spawn(move || channel.run(task)))
                    .collect();
                let panicked = |_| Err(Failure("measuring panicked".into()));
                let results = threads
                    .into_iter()
                    .map(|t| t.join().unwrap_or_else(panicked));
                results.enumerate().collect()
            })
        };
        for (_, outcome) in outcomes {
            self.tell(outcome?)?;
        }
        if self.plan.strict
            && let Some(fault) = self.channels.iter().find_map(Channel::open_fault)
        {
            return Err(Failure(format!("strict: {}", fault.text)));
        }
        Ok(())
    }

    fn tell(&mut self, outcome: Outcome) -> Result<(), Failure> {
        let Outcome { scores, faults } = outcome;
        for fault in faults {
            gst::warning!(super::imp::CAT, obj = self.element, "{}", fault.text);
            self.post(fault.to_structure());
            if self.plan.strict {
                return Err(Failure(format!("strict: {}", fault.text)));
            }
        }
        for (pair, scores) in scores {
            self.tell_scores(pair, &scores)?;
        }
        Ok(())
    }

    fn tell_scores(&mut self, pair: Pair, scores: &FrameScores) -> Result<(), Failure> {
        let channel = self.channels.iter().find(|c| c.pad() == pair.pad);
        let columns = channel.map(|c| c.columns().to_vec()).unwrap_or_default();
        if let Some(log) = &mut self.log {
            log.write(&pair, &columns, scores)
                .map_err(|e| Failure(format!("the log cannot be written: {e}")))?;
        }
        if self.plan.message_per_frame {
            let values = columns.into_iter().zip(&scores.values);
            let frame = Frame {
                pad: pair.pad,
                frame: pair.frame,
                distorted_frame: pair.distorted_frame,
                running_time: pair.running_time.map(gst::ClockTime::from_nseconds),
                identical: scores.identical(),
                scores: values.filter_map(|(c, v)| Some((c.name, (*v)?))).collect(),
            };
            self.post(frame.to_structure());
        }
        Ok(())
    }

    fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure)
            .src(&self.element)
            .build();
        // No bus: nobody listens.
        let _ = self.element.post_message(message);
    }

    /// Everything was measured: the summary, the log, the verdict, EOS.
    fn complete(mut self) {
        let mut summary = Summary {
            pads: self.channels.iter().map(Channel::summary).collect(),
        };
        summary.pads.sort_by(|a, b| a.pad.cmp(&b.pad));
        let structure = summary.to_structure();
        let (pads, seqnum) = {
            let mut state = self.shared.lock();
            state.summary = Some(structure.clone());
            (state.queues.distorted().count(), state.seqnum)
        };
        self.post(structure);
        if let Some(log) = self.log.take()
            && let Err(e) = log.finish()
        {
            let text = format!("the log cannot be completed: {e}");
            return self.fail(gst::StreamError::Failed, &text);
        }
        if pads == 0 {
            let text = "nothing was compared: there is no distorted pad";
            return self.fail(gst::StreamError::Failed, text);
        }
        let violations = self.violations();
        if !violations.is_empty() {
            let text = format!("quality: {}", violations.join("; "));
            return self.fail(gst::StreamError::Failed, &text);
        }
        if summary.pads.iter().any(|p| p.frames == 0) {
            gst::element_warning!(
                self.element,
                gst::StreamError::Failed,
                ("a stream had not one pair of frames to compare")
            );
        }
        let eos = gst::message::Eos::builder()
            .src(&self.element)
            .seqnum_if_some(seqnum);
        self.shared.lock().finished = true;
        let _ = self.element.post_message(eos.build());
        self.press();
    }

    /// Has the bin look at its EOS again if nobody stops the element after a while.
    ///
    /// A bin forwards EOS only once it has noted that it is in PLAYING. Where an application goes on
    /// to PLAYING as soon as it reads of PAUSED, as gst-launch-1.0 does, the thread that wrote of
    /// PAUSED may take that note away again when it is scheduled late (GStreamer 1.22,
    /// `gst_bin_state_changed`), and EOS would be held back for ever. A state that is lost and found
    /// makes the note anew; a bin that has forwarded EOS does not do so twice.
    fn press(&self) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while state.running {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.shared.wait_for(state, left);
        }
        let playing = state.running && state.playing;
        drop(state);
        if playing {
            gst::debug!(
                super::imp::CAT,
                obj = self.element,
                "EOS was not acted on: once more"
            );
            let start = gst::message::AsyncStart::builder()
                .src(&self.element)
                .build();
            let done = gst::message::AsyncDone::builder()
                .src(&self.element)
                .build();
            let _ = self.element.post_message(start);
            let _ = self.element.post_message(done);
        }
    }

    fn violations(&self) -> Vec<String> {
        let several = self.channels.len() > 1;
        let mut out = Vec::new();
        for channel in &self.channels {
            let none;
            let collected = match channel.collected() {
                Some(c) => c,
                None => {
                    none = gstneural_metrics::Summary::new(&[]);
                    &none
                }
            };
            let (under, over) = (&self.plan.under, &self.plan.over);
            let violations = under.violations(collected, true).into_iter();
            for v in violations.chain(over.violations(collected, false)) {
                let text = |v: &Violation| match several {
                    true => format!("{}: {v}", channel.pad()),
                    false => v.to_string(),
                };
                out.push(text(&v));
            }
        }
        out
    }

    fn fail(&self, code: gst::StreamError, text: &str) {
        // First, so that it is on the bus before what the sources say about their flow.
        gst::element_error!(self.element, code, ("{}", text));
        self.shared.lock().failed = true;
        self.shared.changed.notify_all();
    }
}

/// A worker's thread, and whether it has ended.
#[derive(Debug)]
pub(super) struct Thread {
    handle: std::thread::JoinHandle<()>,
    ended: Arc<AtomicBool>,
}

impl Thread {
    pub fn start(worker: Worker) -> std::io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        let handle = std::thread::Builder::new()
            .name("psnrsink".into())
            .spawn(move || {
                worker.run();
                flag.store(true, Ordering::Release);
            })?;
        Ok(Self { handle, ended })
    }

    /// Waits for the end; not if it is this very thread that stops the element, as a synchronous
    /// handler of its messages may.
    pub fn join(self) {
        if self.handle.thread().id() != std::thread::current().id() {
            let panicked = self.handle.join().is_err();
            if panicked || !self.ended.load(Ordering::Acquire) {
                glib::g_warning!("psnrsink", "the measuring thread panicked");
            }
        }
    }
}
