//! What all streams of a program have in common.

use super::choose::Speeds;
use super::hls;
use super::ladder::Rung;
use std::path::PathBuf;
use std::time::Duration;

/// What happens to streams beyond the number that may use a network at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OverLimit {
    /// They take the classical upscale until it is their turn.
    #[default]
    Fallback,
    /// They are not begun until it is their turn.
    Wait,
}

/// What a publisher may send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Pixels of a frame.
    pub pixels: u64,
    /// Frames a second.
    pub fps: f64,
    /// Bits a second.
    pub bps: u64,
}

/// The settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The renditions.
    pub ladder: Vec<Rung>,
    /// Segments and playlists.
    pub hls: hls::options::Options,
    /// Where they are kept: a folder or `s3://BUCKET/PREFIX`.
    pub out: String,
    /// A network by name or file; `None` chooses.
    pub model: Option<String>,
    /// Where networks are looked for first.
    pub model_dir: Option<PathBuf>,
    /// Threads of a network, 0 = all.
    pub threads: u32,
    /// Other properties of `nnupscale`.
    pub element: Vec<(String, String)>,
    /// How fast the networks are here; empty where `model` is given.
    pub speeds: Speeds,
    /// x264's preset.
    pub preset: String,
    /// Of a publisher.
    pub limits: Limits,
    /// How long a publisher may be away.
    pub reconnect: Duration,
    /// How long nothing may come from one that is there.
    pub idle: Duration,
    /// See [`OverLimit`].
    pub over_limit: OverLimit,
}
