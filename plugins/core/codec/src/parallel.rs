//! Slices on threads.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// As [`map`], into `out`, whose memory is used again. Starting threads takes some.
pub(crate) fn map_into<T: Send>(
    n: usize,
    threads: usize,
    out: &mut Vec<T>,
    job: impl Fn(usize) -> T + Sync,
) {
    out.clear();
    if threads <= 1 || n <= 1 {
        out.extend((0..n).map(job));
    } else {
        out.extend(map(n, threads, job));
    }
}

/// Calls `job` for 0..n on up to `threads` threads; the results in order, which do not depend on
/// the number of threads. A job that panics takes the caller down with it.
pub(crate) fn map<T: Send>(n: usize, threads: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    if threads <= 1 || n <= 1 {
        return (0..n).map(job).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(n));
    std::thread::scope(|s| {
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= n {
                    break;
                }
                let out = job(i);
                done.lock()
                    .unwrap_or_else(|e| e.into_inner())
                    .push((i, out));
            }
        };
        for _ in 1..threads.min(n) {
            s.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, out)| out).collect()
}
