//! Live streams: RTMP or SRT in, upscaled adaptive HLS out.
//!
//! [`ingest`] is the RTMP server and its keys, [`hls`] the playlists and segments, [`serve`] the
//! page, the metrics and what the RTMP server asks, [`status`] what is known of a stream.

pub mod hls;
pub mod ingest;
pub mod serve;
pub mod status;
