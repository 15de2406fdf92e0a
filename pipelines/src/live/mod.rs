//! Live streams: RTMP or SRT in, upscaled adaptive HLS out.
//!
//! [`ingest`] is the RTMP server and its keys, [`hls`] the playlists and segments, [`serve`] the
//! page, the metrics and what the RTMP server asks, [`status`] what is known of a stream.

pub mod allowed;
pub mod app;
pub mod args;
pub mod choose;
pub mod cuts;
pub mod feed;
pub mod hls;
pub mod ingest;
pub mod ladder;
pub mod late;
pub mod run;
pub mod serve;
pub mod settings;
pub mod sinks;
pub mod slots;
pub mod source;
pub mod status;
pub mod stream;
pub mod uri;
pub mod work;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a thread that panicked left is as good as it was: each change is made in one go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
