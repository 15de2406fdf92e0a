//! Things that are used again for the next slice or frame, so that coding allocates nothing once all
//! of them are there.

use std::sync::Mutex;

/// What lies idle. It grows to as many as are used at once.
#[derive(Debug)]
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Pool<T> {
    /// One that lies idle, whatever it holds, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).pop()
    }

    /// Gives one back.
    pub(crate) fn give(&self, item: T) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).push(item);
    }
}
