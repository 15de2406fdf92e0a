//! Figures of a reader.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Latencies that the percentiles are taken of.
const LATENCIES: usize = 256;

/// What a reader has done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReadStats {
    /// Requests for ranges.
    pub requests: u64,
    /// Requests that were made again, after a failure.
    pub retries: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes handed out.
    pub bytes_read: u64,
    /// Bytes held at this moment.
    pub bytes_held: u64,
    /// Median of the time until an answer begins.
    pub latency_p50: Duration,
    /// The time within which 95 of 100 answers begin.
    pub latency_p95: Duration,
    /// Bytes received in a second, from the first request to the last byte.
    pub throughput: f64,
}

/// The counters behind it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    received: AtomicU64,
    read: AtomicU64,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    latencies: Vec<Duration>,
    next: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Counters {
    pub fn request(&self, again: bool) {
        self.requests.fetch_add(1, Relaxed);
        self.retries.fetch_add(u64::from(again), Relaxed);
        let mut times = self.times.lock().unwrap_or_else(|e| e.into_inner());
        times.first.get_or_insert_with(Instant::now);
    }

    pub fn answer(&self, latency: Duration) {
        let mut times = self.times.lock().unwrap_or_else(|e| e.into_inner());
        let next = times.next;
        match times.latencies.get_mut(next) {
            Some(slot) => *slot = latency,
            None => times.latencies.push(latency),
        }
        times.next = (next + 1) % LATENCIES;
    }

    /// Before the bytes are handed on, so that no reader can see bytes that no time has passed for.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
        let mut times = self.times.lock().unwrap_or_else(|e| e.into_inner());
        times.last = Some(Instant::now());
    }

    pub fn read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Relaxed);
    }

    pub fn snapshot(&self, held: u64) -> ReadStats {
        let received = self.received.load(Relaxed);
        let times = self.times.lock().unwrap_or_else(|e| e.into_inner());
        let mut sorted = times.latencies.clone();
        sorted.sort_unstable();
        let percentile = |share: f64| {
            let index = (share * sorted.len() as f64) as usize;
            sorted
                .get(index)
                .or(sorted.last())
                .copied()
                .unwrap_or_default()
        };
        let seconds = match (times.first, times.last) {
            (Some(first), Some(last)) => (last - first).as_secs_f64(),
            _ => 0.0,
        };
        ReadStats {
            requests: self.requests.load(Relaxed),
            retries: self.retries.load(Relaxed),
            bytes_received: received,
            bytes_read: self.read.load(Relaxed),
            bytes_held: held,
            latency_p50: percentile(0.5),
            latency_p95: percentile(0.95),
            throughput: if seconds > 0.0 {
                received as f64 / seconds
            } else {
                0.0
            },
        }
    }
}
