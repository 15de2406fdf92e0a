//! The command line of `encode`.

use super::common::{Common, Selection};
use super::upscale::parse_bitrate;
use crate::encoder::Codec;
use crate::job::{Options, Work};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Encode {
    /// The video: a path, s3://BUCKET/KEY, http(s)://... or another URI that GStreamer reads
    input: String,
    /// The .mkv or s3://BUCKET/KEY.mkv to make
    output: PathBuf,

    /// How frames are coded: auto, intra, inter, vq or lossless [default: auto]
    #[arg(long, value_parser = ["auto", "intra", "inter", "vq", "lossless"], help_heading = "Coding")]
    profile: Option<String>,
    /// Constant quality of a lossy profile: 0 (coarse) to 31 (fine)
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=31), conflicts_with = "bitrate", help_heading = "Coding")]
    quality: Option<u32>,
    /// Average bit rate of a lossy profile: 2500k, 8M, or bits a second
    #[arg(long, value_parser = parse_bitrate, help_heading = "Coding")]
    bitrate: Option<u64>,
    /// What stands on the pictures of a lossy profile, for decoders that want it: none, or what they
    /// lack to be lossless [default: none]
    #[arg(long, value_parser = ["none", "lossless"], help_heading = "Coding")]
    layer: Option<String>,
    /// Greatest error of a sample in profile lossless and with --layer lossless: 0 to 15 [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=15), help_heading = "Coding")]
    near: Option<u32>,
    /// Every how many frames a keyframe comes [default: 64]
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Coding")]
    keyint: Option<u32>,
    /// Milliseconds that a decoder's buffer holds at the bit rate [default: 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(40..=60_000), requires = "bitrate", help_heading = "Coding")]
    buffer_time: Option<u32>,
    /// Size of the networks of a lossy profile: 0 (the smallest) to 3 [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=3), help_heading = "Coding")]
    tier: Option<u32>,
    /// Networks of your own (.gnm); whoever decodes needs them in a folder of GST_NEURAL_CODEC_MODELS
    #[arg(long, value_name = "FILE", help_heading = "Coding")]
    model: Option<String>,
    /// Make every second frame one that no other needs
    #[arg(long, help_heading = "Coding")]
    droppable: bool,
    /// Put a checksum of the decoded picture into each frame
    #[arg(long, help_heading = "Coding")]
    picture_crc: bool,
    /// Threads; 0 = all cores
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1024), help_heading = "Coding")]
    threads: u32,

    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    pub(super) common: Common,
}

impl Encode {
    pub(super) fn options(self) -> Options {
        let mut coding = Vec::new();
        let mut set = |name: &str, value: Option<String>| {
            coding.extend(value.map(|v| (name.to_string(), v)));
        };
        set("profile", self.profile);
        set("quality", self.quality.map(|v| v.to_string()));
        set("bitrate", self.bitrate.map(|v| v.to_string()));
        set("layer", self.layer);
        set("near", self.near.map(|v| v.to_string()));
        set("keyint", self.keyint.map(|v| v.to_string()));
        set("buffer-time", self.buffer_time.map(|v| v.to_string()));
        set("tier", self.tier.map(|v| v.to_string()));
        set("model", self.model);
        set("temporal-layers", self.droppable.then(|| "2".into()));
        set("picture-crc", self.picture_crc.then(|| "true".into()));
        set("threads", Some(self.threads.to_string()));
        Options {
            codec: Some(Codec::Neural),
            coding,
            threads: self.threads,
            start: self.selection.start,
            duration: self.selection.duration,
            wishes: self.selection.wishes(),
            force: self.common.force,
            stall: self.common.stall(),
            ..Options::new(Work::Encode, self.input, self.output)
        }
    }
}
