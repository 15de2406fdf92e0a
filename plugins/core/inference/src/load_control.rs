//! Deciding when the network is too slow for a live stream.
//!
//! The time that frames take beyond their share is a debt. When it passes the deadline, the weight
//! of the network is ramped down to the classical upscale, so that nobody sees a jump; when it is
//! paid back and some time has passed, it is ramped up again. A relapse soon afterwards doubles
//! that time: a machine that is simply too slow is not tried again every second.

use std::time::Duration;

/// Frames of the ramp to the classical upscale.
const RAMP_DOWN: f32 = 4.0;
/// Frames of the ramp back.
const RAMP_UP: f32 = 12.0;
/// Deadlines of debt at which there is no more time for a ramp.
const HARD_LIMIT: u32 = 3;
/// The first time to stay with the classical upscale.
const FIRST_HOLD: Duration = Duration::from_millis(500);
/// The longest.
const LAST_HOLD: Duration = Duration::from_secs(16);
/// A relapse within this time of a return doubles the hold.
const RELAPSE: Duration = Duration::from_secs(10);

/// What to do with the next frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// Use the network with this weight, 0 < w <= 1.
    Network(f32),
    /// Leave the network out.
    Fallback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Network,
    Falling,
    Fallback,
}

/// The controller of one stream. All times are stream or processing time, never a clock of its own.
#[derive(Debug, Clone)]
pub struct LoadControl {
    deadline: Duration,
    debt: Duration,
    state: State,
    weight: f32,
    hold: Duration,
    /// Stream time spent in the current state.
    since: Duration,
}

impl LoadControl {
    /// `deadline` is the delay that may build up.
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            debt: Duration::ZERO,
            state: State::Network,
            weight: 1.0,
            hold: FIRST_HOLD,
            since: Duration::ZERO,
        }
    }

    /// The delay that has built up.
    pub fn debt(&self) -> Duration {
        self.debt
    }

    /// A lateness that makes it leave out the network, by the ramp.
    pub fn limit(&self) -> Duration {
        self.deadline + Duration::from_nanos(1)
    }

    /// True while the network is left out.
    pub fn is_fallback(&self) -> bool {
        self.state == State::Fallback
    }

    /// Decides the next frame. `lateness` is what the pipeline knows of its delay, zero if nothing.
    pub fn decide(&mut self, lateness: Duration) -> Decision {
        let late = self.debt.max(lateness);
        match self.state {
            State::Network => {
                if late > self.deadline {
                    self.enter(if late > self.deadline * HARD_LIMIT {
                        State::Fallback
                    } else {
                        State::Falling
                    });
                } else {
                    self.weight = (self.weight + 1.0 / RAMP_UP).min(1.0);
                }
            }
            State::Falling if late > self.deadline * HARD_LIMIT => self.enter(State::Fallback),
            State::Falling => {
                self.weight -= 1.0 / RAMP_DOWN;
                if self.weight <= 0.01 {
                    self.enter(State::Fallback);
                }
            }
            State::Fallback => {
                if late <= self.deadline / 4 && self.since >= self.hold {
                    self.enter(State::Network);
                    self.weight = 1.0 / RAMP_UP;
                }
            }
        }
        if self.state == State::Fallback {
            self.weight = 0.0;
            return Decision::Fallback;
        }
        Decision::Network(self.weight)
    }

    fn enter(&mut self, state: State) {
        if self.state == State::Network {
            self.hold = if self.since < RELAPSE {
                (self.hold * 2).min(LAST_HOLD)
            } else {
                FIRST_HOLD
            };
        }
        self.state = state;
        self.since = Duration::ZERO;
    }

    /// Tells what a frame cost and how much stream time it covers.
    pub fn finished(&mut self, spent: Duration, interval: Duration) {
        self.debt = (self.debt + spent).saturating_sub(interval);
        self.since += interval;
    }

    /// Forgets the delay, after a seek or a pause.
    pub fn reset(&mut self) {
        *self = Self::new(self.deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    /// Plays frames; `cost` gives what a frame with the network costs. Returns the weights.
    fn play(control: &mut LoadControl, frames: usize, cost: impl Fn(usize) -> u64) -> Vec<f32> {
        (0..frames)
            .map(|i| {
                let (weight, spent) = match control.decide(Duration::ZERO) {
                    Decision::Network(w) => (w, Duration::from_millis(cost(i))),
                    Decision::Fallback => (0.0, Duration::from_millis(5)),
                };
                control.finished(spent, FRAME);
                weight
            })
            .collect()
    }

    #[test]
    fn a_fast_machine_always_uses_the_network() {
        let weights = play(&mut LoadControl::new(FRAME * 2), 300, |_| 30);
        assert!(weights.iter().all(|w| *w == 1.0));
    }

    #[test]
    fn one_slow_frame_changes_nothing() {
        let weights = play(&mut LoadControl::new(FRAME * 3), 100, |i| {
            if i == 50 { 100 } else { 20 }
        });
        assert!(weights.iter().all(|w| *w == 1.0));
    }

    #[test]
    fn overload_is_ramped_and_bounded() {
        let mut control = LoadControl::new(FRAME * 3);
        let mut worst = Duration::ZERO;
        let mut weights = Vec::new();
        for _ in 0..600 {
            weights.extend(play(&mut control, 1, |_| 50));
            worst = worst.max(control.debt());
        }
        assert!(worst < FRAME * 3 * 3, "{worst:?}");
        for pair in weights.windows(2) {
            assert!((pair[1] - pair[0]).abs() <= 0.26, "a jump: {pair:?}");
        }
        let share = weights.iter().filter(|w| **w == 0.0).count() as f32 / weights.len() as f32;
        assert!(
            share > 0.8,
            "a slow machine should stay in the fallback: {share}"
        );
    }

    #[test]
    fn it_comes_back_after_the_overload() {
        let mut control = LoadControl::new(FRAME * 3);
        play(&mut control, 120, |_| 60);
        let weights = play(&mut control, 1200, |_| 20);
        assert_eq!(weights.last(), Some(&1.0));
    }

    #[test]
    fn a_jam_falls_back_at_once() {
        let mut control = LoadControl::new(FRAME);
        assert_eq!(control.decide(FRAME * 10), Decision::Fallback);
    }
}
