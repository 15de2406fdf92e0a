//! Time in transport streams: 33 bits at 90 kHz, which begin anew after 26.5 hours.

use std::time::Duration;

/// Ticks a second.
pub const HZ: u64 = 90_000;
/// Where time begins anew, in ticks.
pub const WRAP: u64 = 1 << 33;

/// How far `to` is after `from`, in ticks: the shorter way round, -2^32 to 2^32 - 1.
pub fn difference(from: u64, to: u64) -> i64 {
    let ahead = to.wrapping_sub(from) % WRAP;
    // Both are below 2^33, far from what an i64 cannot hold.
    let signed = i64::try_from(ahead).unwrap_or_default();
    match ahead < WRAP / 2 {
        true => signed,
        false => signed - (1 << 33),
    }
}

/// How long after `from` is `to`; nothing if it is before.
pub fn duration(from: u64, to: u64) -> Duration {
    ticks(u64::try_from(difference(from, to)).unwrap_or_default())
}

/// Ticks as a time, to the nanosecond below.
pub fn ticks(ticks: u64) -> Duration {
    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(HZ);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// The time without a wrap that is nearest to `near` (which has none either) and whose low 33 bits
/// are `pts`; not below zero.
pub fn unwrapped(near: u64, pts: u64) -> u64 {
    near.saturating_add_signed(difference(near, pts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_go_the_shorter_way_round() {
        assert_eq!(difference(5, 8), 3);
        assert_eq!(difference(8, 5), -3);
        assert_eq!(difference(WRAP - 2, 3), 5);
        assert_eq!(difference(3, WRAP - 2), -5);
        assert_eq!(difference(0, WRAP / 2 - 1), (1 << 32) - 1);
        assert_eq!(difference(0, WRAP / 2), -(1 << 32));
        assert_eq!(duration(WRAP - 90_000, 90_000), Duration::from_secs(2));
        assert_eq!(duration(90_000, 0), Duration::ZERO);
    }

    #[test]
    fn time_goes_on_through_wraps() {
        let (mut near, mut truth) = (0, 0);
        for step in 0..10_000_u64 {
            truth += 3_000_000 + step;
            near = unwrapped(near, truth % WRAP);
            assert_eq!(near, truth);
        }
        assert!(truth > 3 * WRAP);
        assert_eq!(unwrapped(near, (near - 900) % WRAP), near - 900);
    }
}
