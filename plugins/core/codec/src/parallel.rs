//! Slices on threads.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

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

/// Calls `job` for every item on up to `threads` threads, each item on one of them. A job that
/// panics takes the caller down with it.
pub(crate) fn each<T: Send>(items: &mut [T], threads: usize, job: impl Fn(&mut T) + Sync) {
    if threads <= 1 || items.len() <= 1 {
        return items.iter_mut().for_each(job);
    }
    let threads = threads.min(items.len());
    let next = Mutex::new(items.iter_mut());
    std::thread::scope(|s| {
        let work = || {
            loop {
                let item = next.lock().unwrap_or_else(|e| e.into_inner()).next();
                let Some(item) = item else { break };
                job(item);
            }
        };
        for _ in 1..threads {
            s.spawn(work);
        }
        work();
    });
}
