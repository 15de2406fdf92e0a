//! Trying again, with pauses that grow.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use crate::error::{ErrorKind, S3Error};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const FIRST_PAUSE_THROTTLED: Duration = Duration::from_millis(400);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

static NO_PAUSES: AtomicBool = AtomicBool::new(false);

/// Tries again at once from now on, in the whole process: for fuzzing.
pub fn without_pauses() {
    NO_PAUSES.store(true, Relaxed);
}

/// The pause before try number `attempt + 1`: exponential, with full jitter in its upper half, so
/// that many clients do not come back at the same moment.
pub(crate) fn pause(attempt: u32, kind: ErrorKind) -> Duration {
    if NO_PAUSES.load(Relaxed) {
        return Duration::ZERO;
    }
    let first = match kind {
        ErrorKind::Throttled => FIRST_PAUSE_THROTTLED,
        _ => FIRST_PAUSE,
    };
    let factor = 1u32 << attempt.saturating_sub(1).min(10);
    let longest = first.saturating_mul(factor).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + 0.5 * fastrand::f64())
}

/// Calls `request` until it succeeds, fails for good, or was tried `attempts` times.
///
/// `request` is given the number of the try, from 1.
pub(crate) async fn retry<T, F, R>(attempts: u32, mut request: F) -> Result<T, S3Error>
where
    F: FnMut(u32) -> R,
    R: Future<Output = Result<T, S3Error>>,
{
    let mut attempt = 1;
    loop {
        match request(attempt).await {
            Ok(value) => return Ok(value),
            Err(mut error) => {
                error.attempts = attempt;
                if !error.retryable() || attempt >= attempts {
                    return Err(error);
                }
                tokio::time::sleep(pause(attempt, error.kind)).await;
                attempt += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for attempt in 1..40 {
            let pause = pause(attempt, ErrorKind::Network);
            assert!(
                pause <= LONGEST_PAUSE && pause >= FIRST_PAUSE / 2,
                "{attempt}: {pause:?}"
            );
        }
        assert!(pause(5, ErrorKind::Network) > pause(1, ErrorKind::Network));
    }
}
