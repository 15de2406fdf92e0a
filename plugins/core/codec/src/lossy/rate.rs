//! Which level a frame takes: a constant one, or what a bitrate and a decoder's buffer allow.

use super::LEVELS;
use crate::{CodecError, Result};

/// What decides on the quality of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// A constant quality, 0 (worst) to 31 (best).
    Quality(u8),
    /// An average bitrate, with a decoder's buffer that never runs dry.
    Average {
        /// Bits a second.
        bits_per_second: u32,
        /// How long the buffer takes to fill, in milliseconds: a second is usual, less means
        /// smaller keyframes.
        buffer_ms: u32,
    },
}

/// By how much bits shrink from one level to the next: about the power -1.1 of the step, which
/// doubles in 31/6 levels. Only a start: what frames really take is measured.
const SHRINK: f64 = 0.863;
/// Bits a pixel of a keyframe at level 0, about.
const FIRST_BITS: f64 = 3.0;
/// How long it takes to make up for a deviation.
const WINDOW_SECONDS: f64 = 1.5;
/// Levels that a predicted frame may differ from the one before: more would be seen as pumping.
const STEP: f64 = 3.0;

/// The state of the rate control.
///
/// The buffer is that of a decoder which gets `bits_per_second` all the time and takes a frame's
/// bits out at the frame's time; it starts full.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    /// Bits a frame has on average.
    share: f64,
    window: f64,
    capacity: f64,
    fullness: f64,
    /// Bits that frames were given and did not take.
    saved: f64,
    /// Bits of a keyframe and of a predicted frame, reckoned at level 0.
    complexity: [Option<f64>; 2],
    pixels: f64,
    last: f64,
    /// Frames from one keyframe to the next, as far as is known.
    interval: f64,
}

impl Control {
    /// A control for frames of `pixels` luma samples with a keyframe every `interval` frames.
    ///
    /// # Errors
    /// [`CodecError::Setting`] if the frame rate is not known, or the bitrate or the buffer is 0.
    pub(crate) fn new(
        bits_per_second: u32,
        buffer_ms: u32,
        fps: (u32, u32),
        pixels: u64,
        interval: u32,
    ) -> Result<Self> {
        let bad = |what, value: u32, range| CodecError::Setting {
            what,
            value: value.into(),
            range,
        };
        if bits_per_second == 0 {
            return Err(bad("bitrate", 0, "more than 0"));
        }
        if !(40..=60_000).contains(&buffer_ms) {
            return Err(bad("buffer", buffer_ms, "40 to 60000 ms"));
        }
        if fps.0 == 0 || fps.1 == 0 {
            return Err(bad("frame rate", fps.0, "known for an average bitrate"));
        }
        let rate = f64::from(bits_per_second);
        let fps = f64::from(fps.0) / f64::from(fps.1);
        let capacity = rate * f64::from(buffer_ms) / 1000.0;
        Ok(Self {
            share: rate / fps,
            window: (WINDOW_SECONDS * fps).max(2.0),
            capacity,
            fullness: capacity,
            saved: 0.0,
            complexity: [None; 2],
            pixels: pixels as f64,
            last: f64::from(LEVELS) / 2.0,
            interval: f64::from(interval).max(1.0),
        })
    }

    /// The level to try for the next frame.
    pub(crate) fn level(&self, key: bool) -> u8 {
        let of = |bits: f64, complexity: f64| (bits.max(1.0) / complexity).ln() / SHRINK.ln();
        let key_start = self.pixels * FIRST_BITS;
        let [keys, others] = self.complexity;
        let level = match (key, others) {
            // Before anything is known: a keyframe may take a third of the buffer.
            (true, None) => of(self.fullness / 3.0, keys.unwrap_or(key_start)),
            // A keyframe is what the frames after it are made of: as good as they are, or better.
            (true, Some(_)) => {
                let cautious = of(self.fullness * 0.7, keys.unwrap_or(key_start));
                (self.last - 2.0).max(cautious)
            }
            (false, others) => {
                let complexity = others.unwrap_or(keys.unwrap_or(key_start) / 4.0);
                // What the next keyframe will take beyond its share is put aside frame by frame.
                let key_bits = keys.map_or(0.0, |c| c * SHRINK.powf(self.last - 2.0));
                let aside = (key_bits - self.share).max(0.0) / self.interval;
                let plan = self.share - aside.min(self.share * 0.7) + self.saved / self.window;
                let plan = plan.clamp(self.share * 0.1, self.share * 4.0);
                let level = of(plan.min(self.fullness * 0.8), complexity);
                match others {
                    Some(_) => level.clamp(self.last - STEP, self.last + STEP),
                    None => level.max(self.last),
                }
            }
        };
        (level + 0.5).floor().clamp(0.0, f64::from(LEVELS - 1)) as u8
    }

    /// Whether the buffer holds that many bits.
    pub(crate) fn fits(&self, bits: u64) -> bool {
        bits as f64 <= self.fullness
    }

    /// Notes what the frame took.
    pub(crate) fn coded(&mut self, key: bool, level: u8, bits: u64) {
        let bits = bits as f64;
        let known = &mut self.complexity[usize::from(!key)];
        let now = bits / SHRINK.powi(level.into());
        *known = Some(known.map_or(now, |k| {
            if key {
                (k + now) / 2.0
            } else {
                k * 0.7 + now * 0.3
            }
        }));
        self.fullness = (self.fullness - bits + self.share).min(self.capacity);
        self.saved += self.share - bits;
        // What a still picture saved for minutes must not be spent in a second.
        self.saved = self.saved.min(self.capacity);
        if !key {
            self.last = level.into();
        } else if self.complexity[1].is_none() {
            self.last = f64::from(level) + 2.0;
        }
    }

    /// Bits in the buffer; less than 0 would be a frame that comes too late.
    #[cfg(test)]
    pub(crate) fn fullness(&self) -> f64 {
        self.fullness
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source whose bits depend on the level in another way than the control believes.
    fn bits(key: bool, level: u8, n: usize) -> u64 {
        let busy = 1.0 + 0.6 * ((n / 90) % 3) as f64;
        let noise = 1.0 + 0.2 * ((n * 7919 % 100) as f64 / 100.0 - 0.5);
        let at_zero = if key { 1_600_000.0 } else { 520_000.0 };
        (at_zero * busy * noise * 0.89f64.powi(level.into()) + 500.0) as u64
    }

    #[test]
    fn ten_seconds_take_what_was_asked_for() {
        for rate in [800_000, 2_000_000, 6_000_000] {
            let mut control = Control::new(rate, 1000, (30, 1), 640 * 360, 60).unwrap();
            let mut sum = 0;
            for n in 0..300 {
                let key = n % 60 == 0;
                let mut level = control.level(key);
                while !control.fits(bits(key, level, n)) && level < LEVELS - 1 {
                    level += 1;
                }
                let b = bits(key, level, n);
                assert!(control.fits(b), "{rate}: frame {n} at level {level}");
                control.coded(key, level, b);
                assert!(control.fullness() >= 0.0);
                sum += b;
            }
            let ratio = sum as f64 / 10.0 / f64::from(rate);
            assert!((0.95..=1.05).contains(&ratio), "{rate}: {ratio}");
        }
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        assert!(Control::new(0, 1000, (30, 1), 1, 1).is_err());
        assert!(Control::new(1, 1, (30, 1), 1, 1).is_err());
        assert!(Control::new(1, 1000, (0, 1), 1, 1).is_err());
    }
}
