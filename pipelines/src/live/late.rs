//! How late frames come out of the upscaler, whatever the rhythm in which they came.
//!
//! A publisher's packets come in bursts: half a second at once where sound and picture are written
//! in turns, more after a pause of the network. What came in a burst came early, and the last frame
//! of one leaves the decoder when the next begins: the time from a frame's arrival says nothing of
//! the processor. A player has to wait for the frame that came latest for its time, so the frames
//! are compared with a schedule that begins there.

use std::collections::VecDeque;
use std::time::Duration;

/// Stream time over which the rhythm is looked at, ns: several bursts.
const RHYTHM: u64 = 2_000_000_000;
/// Stream time over which the delays are looked at, ns: longer, so that the frame which set the
/// schedule is among them.
const DELAYS: u64 = 2 * RHYTHM;

/// The largest of the values of the last `WINDOW` ns.
#[derive(Debug, Default)]
struct Recent<const WINDOW: u64>(VecDeque<(u64, i64)>);

impl<const WINDOW: u64> Recent<WINDOW> {
    fn add(&mut self, time: u64, value: i64) {
        while self.0.back().is_some_and(|(_, v)| *v <= value) {
            self.0.pop_back();
        }
        self.0.push_back((time, value));
        while self.0.front().is_some_and(|(t, _)| t + WINDOW < time) {
            self.0.pop_front();
        }
    }

    fn largest(&self) -> Option<i64> {
        self.0.front().map(|(_, v)| *v)
    }
}

/// The schedule that a publisher's rhythm allows.
#[derive(Debug, Default)]
pub struct Schedule(Recent<RHYTHM>);

impl Schedule {
    /// A frame of this running time came `now` ns after some fixed moment.
    pub fn came(&mut self, time: u64, now: u64) {
        self.0.add(time, difference(now, time));
    }

    /// How long after its place in the schedule a frame is that is done `now`, ns; before it if
    /// negative.
    pub fn behind(&self, time: u64, now: u64) -> Option<i64> {
        Some(difference(now, time).saturating_sub(self.0.largest()?))
    }
}

fn difference(a: u64, b: u64) -> i64 {
    let magnitude = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a < b { -magnitude } else { magnitude }
}

/// Watches the frames of one run.
#[derive(Debug)]
pub struct Lateness {
    frame: i64,
    delays: Recent<DELAYS>,
    /// What decoding and upscaling take where nothing waits.
    usual: i64,
}

impl Lateness {
    /// For frames of this duration.
    pub fn new(frame: Duration) -> Self {
        Self {
            frame: frame.as_nanos() as i64,
            delays: Recent::default(),
            usual: i64::MAX,
        }
    }

    /// How late a frame is beyond its own duration, ns, from its running time and how long after its
    /// place in the [`Schedule`] it is done.
    pub fn frame(&mut self, time: u64, behind: i64) -> i64 {
        self.delays.add(time, behind);
        let slowest = self.delays.largest().unwrap_or(behind);
        self.usual = self.usual.min(slowest.max(0));
        let late = behind.saturating_sub(self.usual);
        late.saturating_sub(self.frame).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 33_333_333;
    const MS: u64 = 1_000_000;

    /// Plays frames that come at `arrival(i)` and cost `cost(i)` ns; how late each is, in ms. Each
    /// leaves the decoder when the next one has come, as H.264 decoders have it.
    fn play(frames: u64, arrival: impl Fn(u64) -> u64, cost: impl Fn(u64) -> u64) -> Vec<i64> {
        let mut schedule = Schedule::default();
        let mut lateness = Lateness::new(Duration::from_nanos(FRAME));
        let (mut free, mut came) = (0, 0);
        let mut frame = |i: u64| {
            free = arrival(i + 1).max(free) + cost(i);
            while arrival(came) <= free {
                schedule.came(came * FRAME, arrival(came));
                came += 1;
            }
            let behind = schedule.behind(i * FRAME, free);
            lateness.frame(i * FRAME, behind.expect("frames came")) / MS as i64
        };
        (0..frames).map(&mut frame).collect()
    }

    /// Fifteen frames at once, each half second.
    fn bursts(i: u64) -> u64 {
        (i / 15 + 1) * 15 * FRAME
    }

    #[test]
    fn bursts_are_not_late() {
        let late = play(900, bursts, |_| 20 * MS);
        assert!(late.iter().all(|l| *l == 0), "{late:?}");
    }

    #[test]
    fn a_pause_of_the_network_is_not_late() {
        // The publisher's network stood still for 400 ms, and gave what had waited at once.
        let arrival = |i: u64| match i * FRAME {
            t if (5_000 * MS..5_400 * MS).contains(&t) => 5_400 * MS,
            t => t,
        };
        let late = play(900, arrival, |_| 15 * MS);
        assert!(late.iter().all(|l| *l == 0), "{late:?}");
    }

    #[test]
    fn another_rhythm_is_not_late() {
        let turns = |i: u64| {
            if (i / 300).is_multiple_of(2) {
                bursts(i)
            } else {
                (i + 15) * FRAME
            }
        };
        let late = play(1800, turns, |_| 20 * MS);
        assert!(late.iter().all(|l| *l == 0), "{late:?}");
    }

    #[test]
    fn too_slow_a_processor_is_seen_at_once() {
        for arrival in [bursts, |i| i * FRAME] {
            // From frame 300 on, each costs more than there is time for.
            let cost = |i| if i < 300 { 10 * MS } else { 50 * MS };
            let late = play(600, arrival, cost);
            assert!(late[..300].iter().all(|l| *l == 0));
            let seen = late.iter().position(|l| *l > 100);
            assert!(seen.is_some_and(|at| at < 300 + 45), "{seen:?}");
            let behind = late[599];
            assert!((4000..5500).contains(&behind), "{behind} ms");
        }
    }

    #[test]
    fn what_is_caught_up_is_not_late_any_more() {
        let cost = |i| {
            if (300..330).contains(&i) {
                100 * MS
            } else {
                10 * MS
            }
        };
        let late = play(900, |i| i * FRAME, cost);
        assert!(late[329] > 1500, "{:?}", late[329]);
        assert!(late[500..].iter().all(|l| *l == 0), "{late:?}");
    }
}
