//! Counting copies of frame data between host and device: what proves that there are none.

use std::sync::atomic::{AtomicU64, Ordering};

/// Copies and bytes, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Copies from host to device.
    pub to_device: u64,
    /// Their bytes.
    pub to_device_bytes: u64,
    /// Copies from device to host.
    pub to_host: u64,
    /// Their bytes.
    pub to_host_bytes: u64,
}

/// What a copy carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cargo {
    /// Pixels or tensors: counted.
    Frame,
    /// Filter tables, flags, a few numbers: not counted.
    Table,
}

/// Counters of one stream.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    to_device: AtomicU64,
    to_device_bytes: AtomicU64,
    to_host: AtomicU64,
    to_host_bytes: AtomicU64,
}

static ALL: Copies = Copies {
    to_device: AtomicU64::new(0),
    to_device_bytes: AtomicU64::new(0),
    to_host: AtomicU64::new(0),
    to_host_bytes: AtomicU64::new(0),
};

/// Copies of frame data between host and device, by this crate, in the life of the process.
pub fn copies() -> Counts {
    ALL.get()
}

impl Copies {
    pub fn get(&self) -> Counts {
        let get = |a: &AtomicU64| a.load(Ordering::Relaxed);
        Counts {
            to_device: get(&self.to_device),
            to_device_bytes: get(&self.to_device_bytes),
            to_host: get(&self.to_host),
            to_host_bytes: get(&self.to_host_bytes),
        }
    }

    pub fn to_device(&self, cargo: Cargo, bytes: usize) {
        if cargo == Cargo::Frame {
            for c in [self, &ALL] {
                c.to_device.fetch_add(1, Ordering::Relaxed);
                c.to_device_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
    }

    pub fn to_host(&self, cargo: Cargo, bytes: usize) {
        if cargo == Cargo::Frame {
            for c in [self, &ALL] {
                c.to_host.fetch_add(1, Ordering::Relaxed);
                c.to_host_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
    }
}
