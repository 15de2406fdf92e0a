//! What waits for the store, and what its writer says.

use super::options::{QueueLimits, RenditionSpec};
use super::publisher::{Counters, Published};
use crate::failure::Failure;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// What is done in order.
#[derive(Debug)]
pub(super) enum Job {
    /// A run begins with these renditions, each at this number.
    Begin(Vec<RenditionSpec>, u64),
    /// What the following segments of a rendition need.
    Init {
        rendition: String,
        name: String,
        bytes: Bytes,
    },
    /// A part of the segment that is being written; without bytes, it was lost.
    Part {
        rendition: String,
        name: String,
        /// The name of the one after it.
        next: String,
        bytes: Option<Bytes>,
        duration: Duration,
        independent: bool,
        begins: SystemTime,
    },
    /// A segment; without bytes, it was lost.
    Segment {
        rendition: String,
        name: String,
        bytes: Option<Bytes>,
        duration: Duration,
        begins: SystemTime,
    },
    /// The end.
    Finish,
}

impl Job {
    fn is_media_of(&self, name: &str) -> bool {
        match self {
            Self::Part { rendition, .. } | Self::Segment { rendition, .. } => rendition == name,
            _ => false,
        }
    }

    /// What it takes of the limits.
    fn size(&self) -> Option<usize> {
        match self {
            Self::Part { bytes, .. } | Self::Segment { bytes, .. } => {
                bytes.as_ref().map(Bytes::len)
            }
            _ => None,
        }
    }
}

/// Is told what can be fetched.
type OnPublished = Arc<dyn Fn(&Published) + Send + Sync>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Of segments and parts that wait, are being written, or for which room was promised.
    bytes: usize,
    items: usize,
    stop: bool,
    ended: bool,
    unreported: Option<Failure>,
    last_error: Option<Failure>,
    counters: BTreeMap<String, Counters>,
    reached: BTreeMap<String, watch::Sender<(u64, u32)>>,
    on_published: Option<OnPublished>,
}

/// The queue between those who hand over segments and the thread that writes them.
pub(super) struct Queue {
    limits: QueueLimits,
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Queue")
            .field("bytes", &state.bytes)
            .field("items", &state.items)
            .field("ended", &state.ended)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `done`; `false` if that did not come in time.
    fn wait_until(
        &self,
        limit: Duration,
        done: impl Fn(&State) -> bool,
    ) -> (MutexGuard<'_, State>, bool) {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| !done(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_done = done(&state);
        (state, is_done)
    }

    /// Waits until there is room for so many bytes, and promises it to the caller.
    pub fn reserve(&self, bytes: usize) -> Result<(), Failure> {
        let limits = self.limits;
        let begun = Instant::now();
        let (mut state, room) = self.wait_until(limits.patience, |s| {
            s.stop
                || s.items == 0
                || (s.items < limits.items && s.bytes.saturating_add(bytes) <= limits.bytes)
        });
        if state.stop {
            return Err(Failure::new("the stream's output is over"));
        }
        if !room {
            return Err(Failure::new(format!(
                "the store is too slow: {} segments and parts ({} bytes) wait for it, and {:.1} s \
                 brought no room for another",
                state.items,
                state.bytes,
                begun.elapsed().as_secs_f64()
            ))
            .hint("lower the bit rates or leave out renditions, or write to a faster place"));
        }
        state.items += 1;
        state.bytes = state.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Takes room without waiting for it.
    pub fn claim(&self, bytes: usize) {
        let mut state = self.lock();
        state.items += 1;
        state.bytes = state.bytes.saturating_add(bytes);
    }

    /// Gives room back.
    pub fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.items = state.items.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// Adds a job, for which there is room.
    pub fn push(&self, job: Job) {
        let mut state = self.lock();
        if !state.stop {
            state.jobs.push_back(job);
        }
        self.changed.notify_all();
    }

    /// The next job, once there is one; `None` when it is time to end.
    pub fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job that needs this much room is done.
    pub fn done(&self, size: Option<usize>) {
        if let Some(bytes) = size {
            self.release(bytes);
        }
    }

    /// The room that a job holds.
    pub fn size(job: &Job) -> Option<usize> {
        job.size()
    }

    /// Whether a segment or part of this rendition waits.
    pub fn has_media_of(&self, rendition: &str) -> bool {
        self.lock().jobs.iter().any(|j| j.is_media_of(rendition))
    }

    /// Ends the writer at the next occasion; what waits is thrown away.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stop = true;
        state.jobs.clear();
        self.changed.notify_all();
    }

    /// The writer has ended.
    pub fn ended(&self) {
        let mut state = self.lock();
        state.stop = true;
        state.ended = true;
        self.changed.notify_all();
    }

    /// Waits for the writer's end; `false` if that did not come in time.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        self.wait_until(limit, |s| s.ended).1
    }

    /// Longest time that the end may take.
    pub fn finish_limit(&self) -> Duration {
        self.limits.finish
    }

    /// Keeps an error for the next call.
    pub fn fail(&self, error: Failure) {
        let mut state = self.lock();
        state.last_error = Some(error.clone());
        state.unreported.get_or_insert(error);
    }

    /// The error that no call has reported yet, once.
    pub fn unreported(&self) -> Result<(), Failure> {
        self.lock().unreported.take().map_or(Ok(()), Err)
    }

    /// The last error.
    pub fn last_error(&self) -> Option<Failure> {
        self.lock().last_error.clone()
    }

    /// Makes a rendition known.
    pub fn know(&self, rendition: &str, sequence: u64) {
        let mut state = self.lock();
        let reached = state.reached.entry(rendition.to_owned());
        reached.or_insert_with(|| watch::Sender::new((sequence, 0)));
        let counters = state.counters.entry(rendition.to_owned());
        counters.or_insert_with(|| Counters {
            rendition: rendition.to_owned(),
            segments: 0,
            bytes: 0,
        });
    }

    /// A rendition's playlist on the store has come this far.
    pub fn set_reached(&self, rendition: &str, reached: (u64, u32)) {
        if let Some(sender) = self.lock().reached.get(rendition) {
            sender.send_replace(reached);
        }
    }

    /// How far the playlist on the store has come.
    pub fn reached(&self, rendition: &str) -> Option<watch::Receiver<(u64, u32)>> {
        self.lock()
            .reached
            .get(rendition)
            .map(watch::Sender::subscribe)
    }

    /// A segment can be fetched.
    pub fn published(&self, published: &Published) {
        let told = {
            let mut state = self.lock();
            if let Some(counters) = state.counters.get_mut(&published.rendition) {
                counters.segments += 1;
                counters.bytes += published.bytes;
            }
            state.on_published.clone()
        };
        // Without the lock: what is told may ask.
        if let Some(told) = told {
            told(published);
        }
    }

    /// Sets who is told.
    pub fn on_published(&self, told: OnPublished) {
        self.lock().on_published = Some(told);
    }

    /// What was published of each rendition.
    pub fn counters(&self) -> Vec<Counters> {
        self.lock().counters.values().cloned().collect()
    }
}

/// How far a playlist with its end has come: further than any request can wait for.
pub(super) const END: (u64, u32) = (u64::MAX, u32::MAX);
