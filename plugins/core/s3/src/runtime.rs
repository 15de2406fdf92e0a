//! The one runtime of the process, and waiting for it from threads that are not its own.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
};

/// Threads that move bytes, for all elements of the process together.
const WORKERS: usize = 2;
/// Threads for what blocks: looking up host names, reading profiles.
const BLOCKING: usize = 4;

/// The runtime that all transfers of the process share.
///
/// It has two threads that move bytes and up to four that look up host names, however many
/// transfers there are.
///
/// # Errors
/// Says why the threads could not be started.
pub fn handle() -> Result<Handle, String> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING)
            .thread_name("gst-s3")
            .enable_all()
            .build()
            .map_err(|e| format!("the threads for S3 could not be started: {e}"))
    });
    match runtime {
        Ok(runtime) => Ok(runtime.handle().clone()),
        Err(text) => Err(text.clone()),
    }
}

/// A switch that ends waiting; it can be switched back.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Default for Cancel {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Cancel {
    /// Ends all waiting, or allows it again.
    pub fn set(&self, cancelled: bool) {
        self.0.send_replace(cancelled);
    }

    /// Whether waiting is over.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    async fn set_at_last(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`, so this ends only when it is switched.
        let _ = receiver.wait_for(|cancelled| *cancelled).await;
    }
}

/// Waits for `future` on the calling thread; `None` when `cancel` was switched first.
///
/// Must not be called on a thread of the runtime.
pub fn wait<F: Future>(handle: &Handle, cancel: &Cancel, future: F) -> Option<F::Output> {
    handle.block_on(async {
        tokio::select! {
            biased;
            () = cancel.set_at_last() => None,
            output = future => Some(output),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn waiting_ends_when_switched_and_works_again_afterwards() {
        let handle = handle().unwrap();
        let cancel = Cancel::default();
        assert_eq!(wait(&handle, &cancel, async { 1 }), Some(1));
        let other = cancel.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.set(true);
        });
        let forever = std::future::pending::<()>();
        assert_eq!(wait(&handle, &cancel, forever), None);
        thread.join().unwrap();
        assert_eq!(wait(&handle, &cancel, async { 1 }), None);
        cancel.set(false);
        assert_eq!(wait(&handle, &cancel, async { 2 }), Some(2));
    }
}
