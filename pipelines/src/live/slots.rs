//! How many streams use the network at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The places; the first to ask gets one.
#[derive(Debug)]
pub struct Slots {
    free: AtomicUsize,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

impl Slots {
    /// So many places.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(count),
        })
    }

    /// A place, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Slot> {
        let taken = self
            .free
            .fetch_update(SeqCst, SeqCst, |free| free.checked_sub(1));
        taken.ok().map(|_| Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let slots = Slots::new(2);
        let (a, b) = (slots.take(), slots.take());
        assert!(a.is_some() && b.is_some() && slots.take().is_none());
        drop(a);
        assert!(slots.take().is_some());
        assert!(slots.take().is_some());
        drop(b);
    }
}
