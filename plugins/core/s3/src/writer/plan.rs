//! How large each part is.

/// Smallest part S3 takes, but for the last one, in bytes.
pub(super) const MIN_PART: u64 = 5 << 20;
/// Largest part, in bytes.
pub(super) const MAX_PART: u64 = 5 << 30;
/// Most parts of an object.
pub(super) const MAX_PARTS: u32 = 10_000;
/// Largest object, in bytes: 5 TiB.
pub(super) const MAX_OBJECT: u64 = 5 << 40;

/// Parts of the size that was asked for, before they begin to grow.
const EVEN_PARTS: u32 = 1000;
/// Parts of one size, from then on.
const STEP_PARTS: u32 = 100;
/// What each step adds: with it 10,000 parts of 5 MiB and more hold 5 TiB.
const STEP_BYTES: u64 = 13 << 20;

/// The length of part `number` (from 1) of an object whose first has `first` bytes.
///
/// It depends on nothing else, so that a run that is repeated cuts its parts at the same places and
/// can take over what an earlier one has uploaded. The first thousand parts are of one size; then
/// each hundred are 13 MiB larger than those before.
pub(super) fn part_bytes(first: u64, number: u32) -> u64 {
    let steps = number.saturating_sub(EVEN_PARTS + 1) / STEP_PARTS;
    let grown = if number > EVEN_PARTS {
        u64::from(steps) + 1
    } else {
        0
    };
    (first + grown * STEP_BYTES).min(MAX_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_the_largest_object() {
        for first in [MIN_PART, 8 << 20, 64 << 20] {
            let total: u64 = (1..=MAX_PARTS).map(|n| part_bytes(first, n)).sum();
            assert!(total >= MAX_OBJECT, "{first}: {total}");
        }
        let half = (1..=MAX_PARTS / 2)
            .map(|n| part_bytes(MIN_PART, n))
            .sum::<u64>();
        assert!(half > 1 << 40, "{half}");
    }

    #[test]
    fn parts_do_not_shrink_and_begin_even() {
        assert_eq!(part_bytes(MIN_PART, 1), MIN_PART);
        assert_eq!(part_bytes(MIN_PART, EVEN_PARTS), MIN_PART);
        assert_eq!(part_bytes(MIN_PART, EVEN_PARTS + 1), MIN_PART + STEP_BYTES);
        for number in 1..MAX_PARTS {
            assert!(part_bytes(MIN_PART, number) <= part_bytes(MIN_PART, number + 1));
        }
        assert_eq!(part_bytes(MAX_PART, 9000), MAX_PART);
    }
}
