//! What a publisher may send: bits and frames a second, as they come and not as a header says.

use super::settings::Limits;
use std::time::{Duration, Instant};

/// The time over which rates are taken.
const WINDOW: Duration = Duration::from_secs(5);
/// Times the rate: a connection begins with what the server kept, which may come at once.
const BITS_AT_ONCE: f64 = 2.0;
/// Times the rate: a line that was still for a while brings all that has waited.
const FRAMES_AT_ONCE: f64 = 3.0;
/// Frames a second above the limit that are still taken for it: times are rounded.
const FPS_TOLERANCE: f64 = 0.5;
/// Between two frames of which one is not the other's next, in ns.
const JUMP_NS: i64 = 1_000_000_000;

/// Counts what comes.
#[derive(Debug)]
pub struct Allowed {
    limits: Limits,
    begun: Instant,
    bytes: u64,
    frames: u64,
    /// By the publisher's own times: the first and the last decoding time, ns, and the frames since
    /// the first.
    spell: Option<(i64, i64, u64)>,
}

impl Allowed {
    /// Nothing has come yet.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            begun: now,
            bytes: 0,
            frames: 0,
            spell: None,
        }
    }

    /// A packet of so many bytes; of a video frame also the decoding time, ns.
    ///
    /// # Errors
    /// It is more than is allowed, in words for the publisher.
    pub fn take(&mut self, now: Instant, bytes: usize, frame: Option<i64>) -> Result<(), String> {
        let window = WINDOW.as_secs_f64();
        let (bps, fps) = (self.limits.bps as f64, self.limits.fps);
        self.bytes += bytes as u64;
        let bits = self.bytes as f64 * 8.0;
        let elapsed = now.duration_since(self.begun).as_secs_f64();
        let full = elapsed >= window;
        if bits > bps * window * BITS_AT_ONCE || (full && bits / elapsed > bps) {
            return Err(format!(
                "the publisher sends more than the {} kbit/s that are allowed (--max-bitrate)",
                self.limits.bps / 1000
            ));
        }
        if let Some(dts) = frame {
            self.frames += 1;
            if self.frames as f64 > (fps + FPS_TOLERANCE) * window * FRAMES_AT_ONCE
                || self.too_dense(dts)
            {
                return Err(format!(
                    "the publisher sends more than the {fps} frames a second that are allowed (--max-fps)"
                ));
            }
        }
        if full {
            (self.begun, self.bytes, self.frames) = (now, 0, 0);
        }
        Ok(())
    }

    /// Whether frames lie closer to each other than they may.
    fn too_dense(&mut self, dts: i64) -> bool {
        let (first, last, frames) = self.spell.unwrap_or((dts, dts, 0));
        if dts < last || dts > last.saturating_add(JUMP_NS) {
            self.spell = Some((dts, dts, 0));
            return false;
        }
        let frames = frames + 1;
        self.spell = Some((first, dts, frames));
        let span = Duration::from_nanos(u64::try_from(dts - first).unwrap_or(0));
        let most = self.limits.fps + FPS_TOLERANCE;
        // Frames that all have the same time never fill a window.
        if span < WINDOW && (frames as f64) < 2.0 * most * WINDOW.as_secs_f64() {
            return false;
        }
        self.spell = Some((dts, dts, 0));
        frames as f64 > most * span.as_secs_f64() + 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        pixels: 1,
        fps: 30.0,
        bps: 1_000_000,
    };

    /// Frames for `seconds` as they are sent `sent` times a second with times of `said` a second.
    fn send(seconds: u64, sent: u64, said: u64, bytes: usize) -> Result<(), String> {
        let now = Instant::now();
        let mut allowed = Allowed::new(LIMITS, now);
        (0..seconds * sent).try_for_each(|i| {
            let at = now + Duration::from_nanos(i * 1_000_000_000 / sent);
            allowed.take(at, bytes, Some((i * 1_000 / said * 1_000_000) as i64))
        })
    }

    #[test]
    fn what_is_allowed_passes_for_ever() {
        assert_eq!(send(600, 30, 30, 4000), Ok(()));
        assert_eq!(send(60, 15, 15, 8000), Ok(()));
    }

    #[test]
    fn frames_are_counted_by_their_times_and_as_they_come() {
        let refused = |sent, said| {
            let text = send(60, sent, said, 10).unwrap_err();
            assert!(text.contains("--max-fps"), "{text}");
        };
        refused(60, 60);
        refused(33, 33);
        // Times of 30 fps, faster than time.
        refused(120, 30);
        // All within the same second.
        refused(30, 100_000);
    }

    #[test]
    fn bits_are_counted() {
        assert!(send(60, 30, 30, 5000).unwrap_err().contains("1000 kbit/s"));
        let now = Instant::now();
        let mut allowed = Allowed::new(LIMITS, now);
        assert!(allowed.take(now, 1_200_000, None).is_ok());
        assert!(allowed.take(now, 100_000, None).is_err());
    }

    #[test]
    fn what_has_waited_may_come_at_once() {
        let now = Instant::now();
        let mut allowed = Allowed::new(LIMITS, now);
        let mut frame = 0i64;
        let mut sends = |at: u64, count: usize| {
            for _ in 0..count {
                frame += 1;
                let time = frame * 1_000_000_000 / 30;
                allowed
                    .take(now + Duration::from_secs(at), 100, Some(time))
                    .unwrap();
            }
        };
        sends(0, 30);
        // Ten seconds of a line that was still.
        sends(10, 300);
        for second in 11..60 {
            sends(second, 30);
        }
    }

    #[test]
    fn times_that_jump_are_not_counted_together() {
        let now = Instant::now();
        let mut allowed = Allowed::new(LIMITS, now);
        for round in 0..40i64 {
            let from = if round % 2 == 0 { 0 } else { 3_600_000_000_000 };
            for i in 0..15 {
                let at = now + Duration::from_millis((round * 500 + i * 33) as u64);
                allowed.take(at, 1, Some(from + i * 33_333_333)).unwrap();
            }
        }
    }
}
