//! What is known of the streams, and what can be asked of them.

use serde::Serialize;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nobody publishes yet, or the publisher is away and may come back.
    #[default]
    Waiting,
    /// Frames come in.
    Live,
    /// Over, its playlists have their end.
    Ended,
    /// Over by an error.
    Failed,
}

/// One rendition.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rendition {
    /// Its name, which is also its folder.
    pub name: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Passed through without encoding it again.
    pub passthrough: bool,
    /// Segments complete.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// One stream, at one moment. Counters count from the stream's first frame on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stream {
    /// Public name; never the key.
    pub name: String,
    /// Where it stands.
    pub phase: Phase,
    /// Path of the master playlist below the output, `NAME/master.m3u8`.
    pub playlist: String,
    /// Of the source, pixels.
    pub width: u32,
    /// Of the source, pixels.
    pub height: u32,
    /// Frames a second, over the last seconds.
    pub fps: f64,
    /// Name of the network.
    pub model: String,
    /// The renditions.
    pub renditions: Vec<Rendition>,
    /// Frames decoded.
    pub frames_in: u64,
    /// Frames that came out of the upscaler.
    pub frames_out: u64,
    /// Of those, by the classical upscale.
    pub fallback_frames: u64,
    /// Left out because everything was too slow.
    pub dropped_frames: u64,
    /// Whether the classical upscale is in use now.
    pub fallback: bool,
    /// Time in the network for a frame, 95th percentile, in seconds.
    pub inference_p95_s: f64,
    /// From a frame's arrival until its segment can be fetched, in seconds: the last segment's first frame.
    pub delay_s: f64,
    /// From a frame's arrival until it is encoded, in seconds.
    pub latency_s: f64,
    /// Audio there is.
    pub audio: bool,
    /// Discontinuities in the playlists.
    pub discontinuities: u64,
    /// Before and after are shown beside each other.
    pub compare: bool,
    /// The last error, for a person.
    pub error: Option<String>,
}

/// Why a publisher is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not one of the keys.
    Key,
    /// Somebody publishes with this key already.
    Busy,
    /// As many streams as are allowed.
    Full,
    /// The program is stopping.
    Stopping,
}

/// What the HTTP server asks of the program. Calls return at once.
pub trait Control: std::fmt::Debug + Send + Sync + 'static {
    /// Somebody wants to publish with this key: the stream's public name, or why not.
    fn publish(&self, key: &str) -> Result<String, Refusal>;
    /// Somebody no longer publishes the stream of this public name.
    fn unpublished(&self, name: &str);
    /// All streams.
    fn streams(&self) -> Vec<Stream>;
    /// Shows before and after, or not; `false` if there is no such stream.
    fn compare(&self, name: &str, on: bool) -> bool;
    /// How far the media playlist at this path below the output (`NAME/RENDITION/index.m3u8`) has
    /// come: the media sequence number of the segment that is being written, and how many of its
    /// parts there are. For playlist requests that wait (`_HLS_msn`, `_HLS_part`).
    fn reached(&self, path: &str) -> Option<tokio::sync::watch::Receiver<(u64, u32)>>;
}
