//! The times at which segments begin: one list for all renditions of a run, so that they are
//! aligned. Times are running times in ns from the run's first frame.

use super::late::Schedule;
use super::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Cuts that are remembered; the slowest rendition is never that many behind.
const REMEMBERED: usize = 512;
/// A frame this much before a cut is the cut's: times of 90 kHz are rounded.
const TOLERANCE_NS: u64 = 1_000_000;

/// The list.
#[derive(Debug)]
pub struct Cuts {
    segment_ns: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    times: VecDeque<u64>,
    /// How many have been forgotten.
    forgotten: u64,
    /// The newest frame that was looked at: cuts up to there are known.
    seen: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
    last_key: Option<u64>,
    longest_gop: u64,
}

impl State {
    fn add(&mut self, time: u64) {
        self.first.get_or_insert(time);
        self.last = Some(time);
        self.times.push_back(time);
        if self.times.len() > REMEMBERED {
            self.times.pop_front();
            self.forgotten += 1;
        }
    }
}

impl Cuts {
    /// For segments of about this length.
    pub fn new(segment: Duration) -> Arc<Self> {
        Arc::new(Self {
            segment_ns: segment.as_nanos().max(1) as u64,
            state: Mutex::default(),
        })
    }

    /// The longest a segment may last: its length in whole seconds is the playlist's target.
    pub fn longest_ns(&self) -> u64 {
        // EXTINF is rounded to the nearest second and must not be more than the target then.
        let target = self.segment_ns.div_ceil(1_000_000_000).max(1);
        target * 1_000_000_000 + 499_000_000
    }

    /// Every frame in its order, where the encoders are ours: whether a segment begins with it.
    pub fn frame(&self, time: u64) -> bool {
        let mut state = lock(&self.state);
        state.seen = state.seen.max(Some(time));
        let due = match state.last {
            None => true,
            // On a grid, so that many segments have the length asked for on the average.
            Some(last) => {
                let first = state.first.unwrap_or(last);
                let steps =
                    (last.saturating_sub(first) + self.segment_ns / 2) / self.segment_ns + 1;
                time + TOLERANCE_NS >= (first + steps * self.segment_ns).min(last + self.segment_ns)
            }
        };
        if due {
            state.add(time);
        }
        due
    }

    /// Every keyframe of a source whose packets are passed through: whether a segment begins with
    /// it. `Err` is how long the segment would be if it may not be that long.
    pub fn keyframe(&self, time: u64) -> Result<bool, u64> {
        let mut state = lock(&self.state);
        state.seen = state.seen.max(Some(time));
        if let Some(key) = state.last_key {
            state.longest_gop = state.longest_gop.max(time.saturating_sub(key));
        }
        state.last_key = Some(time);
        let Some(last) = state.last else {
            state.add(time);
            return Ok(true);
        };
        let length = time.saturating_sub(last);
        if length > self.longest_ns() {
            return Err(length);
        }
        // Now, if the next keyframe could be too late.
        let due = length + TOLERANCE_NS >= self.segment_ns
            || length + state.longest_gop > self.longest_ns();
        if due {
            state.add(time);
        }
        Ok(due)
    }

    /// Every other frame of such a source: the time since the last cut, which grows if it stopped
    /// making keyframes.
    pub fn since_last(&self, time: u64) -> u64 {
        let mut state = lock(&self.state);
        state.seen = state.seen.max(Some(time));
        time.saturating_sub(state.last.unwrap_or(time))
    }

    /// Whether all cuts up to this time are known.
    pub fn decided(&self, time: u64) -> bool {
        lock(&self.state).seen.is_some_and(|seen| seen >= time)
    }

    /// The first cut of all.
    pub fn first(&self) -> Option<u64> {
        lock(&self.state).first
    }

    /// Somebody who comes to each cut in his own time.
    pub fn follow(self: &Arc<Self>) -> Follower {
        Follower {
            cuts: Arc::clone(self),
            next: 0,
        }
    }
}

/// See [`Cuts::follow`].
#[derive(Debug)]
pub struct Follower {
    cuts: Arc<Cuts>,
    next: u64,
}

impl Follower {
    /// Whether a cut is due at `time`; it is not due again then.
    pub fn due(&mut self, time: u64) -> bool {
        let state = lock(&self.cuts.state);
        let mut due = false;
        loop {
            let index = self.next.saturating_sub(state.forgotten) as usize;
            match state.times.get(index) {
                Some(cut) if *cut <= time + TOLERANCE_NS => {
                    due = true;
                    self.next = state.forgotten + index as u64 + 1;
                }
                _ => return due,
            }
        }
    }
}

/// When frames arrived, so that their age can be told anywhere in the graph.
#[derive(Debug)]
pub struct Arrivals {
    began: Instant,
    state: Mutex<Came>,
}

#[derive(Debug, Default)]
struct Came {
    frames: VecDeque<(u64, Instant)>,
    schedule: Schedule,
}

/// Frames remembered: a minute of 60 fps.
const FRAMES: usize = 3600;

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::default(),
        }
    }
}

impl Arrivals {
    /// A frame of this time has come.
    pub fn add(&self, time: u64) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        // Frames with B-frames between them come out of order; their ages differ by little.
        if state.frames.back().is_none_or(|(last, _)| *last < time) {
            state.frames.push_back((time, now));
            let since = now.saturating_duration_since(self.began);
            state.schedule.came(time, since.as_nanos() as u64);
        }
        if state.frames.len() > FRAMES {
            state.frames.pop_front();
        }
    }

    /// How long ago the frame of this time came.
    pub fn age(&self, time: u64) -> Option<Duration> {
        let state = lock(&self.state);
        let at = state.frames.partition_point(|(t, _)| *t <= time);
        let (_, instant) = state.frames.get(at.checked_sub(1)?)?;
        Some(instant.elapsed())
    }

    /// How long after its place in the schedule the frame of this time is done, if it is done now;
    /// ns.
    pub fn behind(&self, time: u64) -> Option<i64> {
        let now = self.began.elapsed().as_nanos() as u64;
        lock(&self.state).schedule.behind(time, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn frames_are_cut_on_a_grid() {
        let cuts = Cuts::new(Duration::from_secs(2));
        let mut found = Vec::new();
        for i in 0..300u64 {
            // 30 fps, in ms as FLV has them.
            let time = i * 1000 / 30 * 1_000_000;
            if cuts.frame(time) {
                found.push(time / 1_000_000);
            }
        }
        assert_eq!(found, [0, 2000, 4000, 6000, 8000]);
    }

    #[test]
    fn a_gap_in_the_frames_does_not_make_short_segments() {
        let cuts = Cuts::new(Duration::from_secs(2));
        let times = [0, 1, 7 * SECOND, 8 * SECOND, 9 * SECOND, 10 * SECOND];
        let due: Vec<_> = times.iter().map(|t| cuts.frame(*t)).collect();
        assert_eq!(due, [true, false, true, false, true, false]);
    }

    #[test]
    fn keyframes_decide_where_packets_are_passed_through() {
        let run = |gop_ms: u64, segment_s| {
            let cuts = Cuts::new(Duration::from_secs(segment_s));
            (0..20)
                .map(|i| i * gop_ms)
                .filter_map(|t| match cuts.keyframe(t * 1_000_000) {
                    Ok(due) => due.then_some(Ok(t)),
                    Err(e) => Some(Err(e)),
                })
                .take(4)
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1000, 2), [Ok(0), Ok(2000), Ok(4000), Ok(6000)]);
        assert_eq!(run(2000, 2), [Ok(0), Ok(2000), Ok(4000), Ok(6000)]);
        // 1.5 s would become 3 s, more than the target allows.
        assert_eq!(run(1500, 2), [Ok(0), Ok(1500), Ok(3000), Ok(4500)]);
        assert_eq!(run(4000, 2)[1], Err(4 * SECOND));
    }

    #[test]
    fn everybody_follows_in_his_own_time() {
        let cuts = Cuts::new(Duration::from_secs(1));
        let (mut early, mut late) = (cuts.follow(), cuts.follow());
        for i in 0..2000u64 {
            let time = i * SECOND / 2;
            cuts.frame(time);
            assert_eq!(early.due(time), i % 2 == 0, "{i}");
        }
        assert!(late.due(1000 * SECOND));
        assert!(!late.due(1000 * SECOND - 1));
    }

    #[test]
    fn ages_are_of_the_frame_at_or_before() {
        let arrivals = Arrivals::default();
        assert!(arrivals.age(5).is_none());
        arrivals.add(100);
        std::thread::sleep(Duration::from_millis(30));
        arrivals.add(200);
        assert!(arrivals.age(99).is_none());
        let (old, new) = (arrivals.age(150).unwrap(), arrivals.age(250).unwrap());
        assert!(old >= new + Duration::from_millis(25));
    }
}
