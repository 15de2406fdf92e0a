//! The command line of `decode`.

use super::common::{Common, Selection};
use super::upscale::parse_bitrate;
use crate::encoder::Codec;
use crate::job::{Options, Work};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Decode {
    /// The video: a path, s3://BUCKET/KEY, http(s)://... or another URI that GStreamer reads
    input: String,
    /// The file or s3://BUCKET/KEY to make; its extension says the container: .mkv .mp4 .webm .mov .ts
    output: PathBuf,

    /// How much of a video with a layer to decode: all, or base, the lossy pictures alone [default: all]
    #[arg(long, value_parser = ["base", "all"])]
    layers: Option<String>,
    /// Refine the decoded pictures with a network of scale 1: an ONNX file or the name of a model
    #[arg(long, value_name = "MODEL")]
    refine: Option<String>,
    /// Video encoder: ffv1 (without loss), x264, x265, av1 or vp9 [default: ffv1 for .mkv, vp9 for .webm, else x264]
    #[arg(long, value_parser = parse_codec, help_heading = "Encoding")]
    encoder: Option<Codec>,
    /// Constant quality, smaller is better [default: x264 18, x265 20, vp9 24, av1 26]
    #[arg(long, conflicts_with = "bitrate", help_heading = "Encoding")]
    crf: Option<u32>,
    /// Average bit rate: 2500k, 8M, or bits a second
    #[arg(long, value_parser = parse_bitrate, help_heading = "Encoding")]
    bitrate: Option<u64>,
    /// Speed of the encoder: ultrafast ... placebo; av1 and vp9 also 0 (best) ... 9 (fastest) [default: medium]
    #[arg(long, help_heading = "Encoding")]
    preset: Option<String>,
    /// Threads of the decoder, the network and the encoder each; 0 = all cores
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1024), help_heading = "Encoding")]
    threads: u32,

    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    pub(super) common: Common,
}

fn parse_codec(text: &str) -> Result<Codec, String> {
    match text {
        "ffv1" => Ok(Codec::Ffv1),
        _ => Codec::from_str(text, false).map_err(|_| "ffv1, x264, x265, av1 or vp9".into()),
    }
}

/// Properties of the `nnupscale` that refines, if there is to be one.
fn refiner(model: Option<String>, threads: u32) -> Vec<(String, String)> {
    let Some(model) = model else {
        return Vec::new();
    };
    let properties = [("model", model), ("threads", threads.to_string())];
    properties.map(|(n, v)| (n.into(), v)).to_vec()
}

/// Properties of the `neuraldec` that decodes.
fn decoding(layers: Option<String>, threads: u32) -> Vec<(String, String)> {
    let threads = Some(("threads".to_string(), threads.to_string()));
    let layers = layers.map(|v| ("layers".into(), v));
    threads.into_iter().chain(layers).collect()
}

impl Decode {
    pub(super) fn options(self) -> Options {
        Options {
            codec: self.encoder,
            crf: self.crf,
            bitrate_bps: self.bitrate,
            preset: self.preset,
            threads: self.threads,
            decoding: decoding(self.layers, self.threads),
            element: refiner(self.refine, self.threads),
            start: self.selection.start,
            duration: self.selection.duration,
            wishes: self.selection.wishes(),
            force: self.common.force,
            stall: self.common.stall(),
            ..Options::new(Work::Decode, self.input, self.output)
        }
    }
}
