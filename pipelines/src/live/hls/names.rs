//! Names of files below the output. Those of media are never used twice, so that caches may keep
//! them for ever: each begins with a stamp of the moment at which the publisher started.

use super::options::Container;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 in base 36: six characters until 2038, and longer later.
pub(super) fn stamp(now: SystemTime) -> String {
    let mut left = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
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
    use super::*;
    use std::time::Duration;

    #[test]
    fn stamps_are_in_base_36() {
        let at = |s| stamp(UNIX_EPOCH + Duration::from_secs(s));
        assert_eq!(at(0), "0");
        assert_eq!(at(35), "z");
        assert_eq!(at(36), "10");
        assert_eq!(at(1_800_000_000), "tro8w0");
        assert_eq!(stamp(UNIX_EPOCH - Duration::from_secs(1)), "0");
    }
}
