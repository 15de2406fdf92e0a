//! The command line of `gst-neural live`.

use super::hls::options::Container;
use super::ladder::{self, Rung};
use super::settings::OverLimit;
use crate::failure::Failure;
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which way segments are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// MPEG transport streams.
    Ts,
    /// Fragmented MP4.
    Cmaf,
}

impl From<Form> for Container {
    fn from(form: Form) -> Self {
        match form {
            Form::Ts => Self::Ts,
            Form::Cmaf => Self::Cmaf,
        }
    }
}

/// See `gst-neural live --help`.
#[derive(Debug, Clone, Args)]
pub struct Live {
    /// Where the stream comes from: rtmp://HOST:PORT/APP/KEY of any server, srt://HOST:PORT?mode=caller (or listener); with --with-ingest, where publishers send it to
    #[arg(long, value_name = "URI")]
    pub ingest: Option<String>,
    /// Start an RTMP server (nginx) of our own for publishers such as OBS
    #[arg(long)]
    pub with_ingest: bool,
    /// Names and stream keys of those who may publish, with --with-ingest: a line NAME KEY for each
    #[arg(long, value_name = "FILE", requires = "with_ingest")]
    pub keys: Option<PathBuf>,
    /// Folder, or s3://BUCKET/PREFIX: playlists and segments are written to OUT/NAME/
    #[arg(long, value_name = "OUT")]
    pub out: String,
    /// Public name of the stream, where there is one alone
    #[arg(long, default_value = "live")]
    pub name: String,
    /// Renditions, the first is the first choice: HEIGHTp, or `source`, each with @RATE if wanted (720p@2500k)
    #[arg(long, value_name = "LIST", default_value = "720p,source", value_parser = parse_ladder)]
    pub ladder: Ladder,

    /// Length of a segment in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 2.0,
        help_heading = "HLS"
    )]
    pub segment: f64,
    /// Form of the segments [default: ts, with --part cmaf]
    #[arg(long, value_name = "FORM", help_heading = "HLS")]
    pub container: Option<Form>,
    /// Low-latency HLS with parts of so many seconds (about 0.33)
    #[arg(long, value_name = "SECONDS", help_heading = "HLS")]
    pub part: Option<f64>,
    /// Segments in the playlist
    #[arg(long, value_name = "N", default_value_t = 6, help_heading = "HLS")]
    pub window: usize,
    /// Keep every segment in the playlist, from the first to the last (EVENT)
    #[arg(long, help_heading = "HLS", conflicts_with = "window")]
    pub event: bool,
    /// Segments kept after they left the playlist
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "HLS")]
    pub keep: usize,

    /// Network by name or file; auto takes the largest that is fast enough here
    #[arg(long, default_value = "auto", help_heading = "Network")]
    pub model: String,
    /// A folder of networks to look in first
    #[arg(long, value_name = "DIR", help_heading = "Network")]
    pub model_dir: Option<PathBuf>,
    /// Where it runs, as nnupscale's property
    #[arg(long, default_value = "auto", help_heading = "Network")]
    pub device: String,
    /// Threads of a network, 0 = all
    #[arg(long, default_value_t = 0, help_heading = "Network")]
    pub threads: u32,
    /// x264's preset for the renditions
    #[arg(long, default_value = "veryfast", help_heading = "Network",
          value_parser = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"])]
    pub preset: String,
    /// Streams that use the network at the same time
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Network")]
    pub max_networks: usize,
    /// What streams beyond that do
    #[arg(long, value_enum, default_value_t, help_heading = "Network")]
    pub over_limit: OverLimit,

    /// Serve player, playlists, metrics and health on this port, 0 = a free one
    #[arg(long, value_name = "PORT", help_heading = "Serving")]
    pub serve: Option<u16>,
    /// Address to serve on; 0.0.0.0 opens it to the network
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Serving"
    )]
    pub bind: IpAddr,
    /// Name under which a web server before this one shows it to others; may be given several times
    #[arg(long, value_name = "NAME", value_parser = parse_host, help_heading = "Serving")]
    pub host: Vec<String>,

    /// Streams at the same time
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Limits")]
    pub max_streams: usize,
    /// Largest frame of a publisher
    #[arg(long, value_name = "WxH", default_value = "1920x1080", value_parser = crate::cli::parse_size, help_heading = "Limits")]
    pub max_size: (u32, u32),
    /// Most frames a second of a publisher
    #[arg(
        long,
        value_name = "FPS",
        default_value_t = 60.0,
        help_heading = "Limits"
    )]
    pub max_fps: f64,
    /// Most bits a second of a publisher (20M, 800k)
    #[arg(long, value_name = "RATE", default_value = "20M", value_parser = parse_rate, help_heading = "Limits")]
    pub max_bitrate: u64,
    /// A publisher that comes back within so many seconds goes on in the same playlist
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        help_heading = "Limits"
    )]
    pub reconnect: u64,
    /// Nothing for so many seconds, and the publisher counts as gone
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Limits")]
    pub idle: u64,

    /// One line of JSON per event on stdout
    #[arg(long)]
    pub json: bool,
    /// Warnings and errors only
    #[arg(long, short)]
    pub quiet: bool,
}

/// A list of rungs, as one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(pub Vec<Rung>);

fn parse_ladder(text: &str) -> Result<Ladder, String> {
    ladder::parse(text).map(Ladder)
}

fn parse_host(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    match (1..=253).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("a name such as tv.example.org, without scheme and port".into()),
    }
}

fn parse_rate(text: &str) -> Result<u64, String> {
    ladder::parse_rate(text)
        .filter(|r| *r >= 10_000)
        .ok_or_else(|| "a rate is a number of bits per second, such as 20M or 800k".into())
}

/// A time in seconds on the command line.
///
/// # Errors
/// When it is no time within `range`.
pub fn seconds(
    option: &str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
) -> Result<Duration, Failure> {
    if !range.contains(&value) {
        return Err(Failure::usage(format!(
            "{option} {value}: from {} to {} seconds",
            range.start(),
            range.end()
        )));
    }
    Ok(Duration::from_secs_f64(value))
}
