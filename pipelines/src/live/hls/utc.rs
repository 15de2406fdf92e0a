//! Dates as EXT-X-PROGRAM-DATE-TIME wants them.

use std::time::{SystemTime, UNIX_EPOCH};

/// ISO 8601 with milliseconds, in UTC: `2026-11-21T15:33:32.250Z`. What is before 1970 is 1970.
pub(super) fn iso8601(time: SystemTime) -> String {
    // To the nearest millisecond: a length of 1/30 s would otherwise show as one of 33 ms or 34 ms.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = (since.as_micros() + 500) / 1000;
    let (days, ms) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(u64::try_from(days).unwrap_or_default());
    let (s, ms) = (ms / 1000, ms % 1000);
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    // 400 years always have the same number of days, whatever they begin with.
    const ERA: u64 = 146_097;
    let mut year = 1970 + days / ERA * 400;
    days %= ERA;
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |s: u64, ms: u64| {
            iso8601(UNIX_EPOCH + Duration::from_secs(s) + Duration::from_millis(ms))
        };
        // Seconds as `date -u -d ... +%s` gives them.
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_799, 999), "2000-02-29T23:59:59.999Z");
        assert_eq!(at(1_709_164_800, 0), "2024-02-29T00:00:00.000Z");
        assert_eq!(at(1_767_225_599, 1), "2025-12-31T23:59:59.001Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
        assert_eq!(at(16_725_225_600, 0), "2500-01-01T00:00:00.000Z");
        let rounds = UNIX_EPOCH + Duration::from_micros(999_500);
        assert_eq!(iso8601(rounds), "1970-01-01T00:00:01.000Z");
        assert_eq!(iso8601(UNIX_EPOCH - Duration::from_secs(9)), at(0, 0));
    }
}
