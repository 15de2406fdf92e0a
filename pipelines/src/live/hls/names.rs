//! Names of files below the output. Those of media are never used twice, so that caches may keep
//! them for ever: each begins with a stamp of the moment at which the publisher started.

use super::options::Container;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A stamp that no publisher of this process has had: the time in seconds, or the next one that is
/// free. A stream may end and begin again within a second.
pub(super) fn fresh_stamp() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let before = NEXT.fetch_max(now, Ordering::SeqCst).max(now);
    // Between the two, another thread may have taken it.
    let mut mine = before;
    while let Err(other) = NEXT.compare_exchange(mine, mine + 1, Ordering::SeqCst, Ordering::SeqCst)
    {
        mine = other;
    }
    stamp(mine)
}

/// Seconds since 1970 in base 36: six characters until 2038, and longer later.
fn stamp(seconds: u64) -> String {
    let mut left = seconds;
    let mut digits = Vec::new();
    while left > 0 || digits.is_empty() {
        let digit = u32::try_from(left % 36).unwrap_or_default();
        digits.extend(char::from_digit(digit, 36));
        left /= 36;
    }
    digits.iter().rev().collect()
}

/// The name of a segment in its rendition's folder.
pub(super) fn segment(stamp: &str, container: Container, sequence: u64) -> String {
    match container {
        Container::Ts => format!("{stamp}-{sequence:06}.ts"),
        Container::Cmaf => format!("{stamp}-{sequence:06}.m4s"),
    }
}

/// The name of a part in its rendition's folder. Parts are counted through, and not within their
/// segment: the next one's name is then known before it is known whose part it is, and what a
/// playlist hints at always comes.
pub(super) fn part(stamp: &str, number: u64) -> String {
    format!("{stamp}-part{number:06}.m4s")
}

/// The name of an initialisation segment in its rendition's folder.
pub(super) fn init(stamp: &str, number: u64) -> String {
    format!("{stamp}-init-{number}.mp4")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stamps_are_in_base_36() {
        assert_eq!(stamp(0), "0");
        assert_eq!(stamp(35), "z");
        assert_eq!(stamp(36), "10");
        assert_eq!(stamp(1_800_000_000), "tro8w0");
    }

    #[test]
    fn no_stamp_is_given_twice() {
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| (0..100).map(|_| fresh_stamp()).collect::<Vec<_>>()))
            .collect();
        let mut all: Vec<String> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 800);
    }
}
