//! Locks that a panic elsewhere does not take away.

use std::sync::{Mutex, MutexGuard};

/// Locks it, poisoned or not: what is inside is replaced as a whole or not at all.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
