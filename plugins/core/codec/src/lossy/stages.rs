//! How long the stages of decoding take, for those who ask.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::slice::Coder;

/// Time that stages took. Those that run on several threads at once add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stages {
    /// Entropy decoding, with the networks that tell how latents are spread.
    pub entropy: Duration,
    /// Motion compensation.
    pub motion: Duration,
    /// Synthesis; on a device, with the copies to it and back.
    pub synthesis: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    Entropy,
    Motion,
    Synthesis,
}

/// Nanoseconds of each stage.
#[derive(Debug, Default)]
pub(crate) struct Clock([AtomicU64; 3]);

impl Coder {
    /// Begins to take times.
    pub(crate) fn take_times(&mut self) {
        self.clock = Some(Clock::default());
    }

    /// What stages took since [`Self::take_times`].
    pub(crate) fn stages(&self) -> Stages {
        let of = |stage: Stage| {
            let clock = self.clock.as_ref().and_then(|c| c.0.get(stage as usize));
            Duration::from_nanos(clock.map_or(0, |t| t.load(Ordering::Relaxed)))
        };
        Stages {
            entropy: of(Stage::Entropy),
            motion: of(Stage::Motion),
            synthesis: of(Stage::Synthesis),
        }
    }

    /// Does `work`, and adds its time to that of `stage` if times are taken.
    pub(super) fn timed<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let Some(clock) = self.clock.as_ref().and_then(|c| c.0.get(stage as usize)) else {
            return work();
        };
        let begin = Instant::now();
        let out = work();
        clock.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        out
    }
}
