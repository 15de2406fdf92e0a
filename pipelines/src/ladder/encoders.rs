//! The encoders of a ladder, and how each is asked for a quality.

use crate::encoder::{Codec, Settings};
use crate::failure::{Failure, make};
use crate::parts::{add_chain, fail, play, src_pad};
use clap::ValueEnum;
use gst::prelude::*;

/// Qualities of our own encoder where none are given: others' scales run the other way.
const NEURAL: [u32; 4] = [9, 14, 19, 24];

/// The greatest distance of its keyframes: that of x264 and x265.
const NEURAL_KEYINT: u32 = 250;

/// Reads the name of an encoder.
pub(super) fn parse(text: &str) -> Result<Codec, String> {
    match text {
        "neural" => Ok(Codec::Neural),
        _ => Codec::from_str(text, false).map_err(|_| "x264, x265, av1, vp9 or neural".into()),
    }
}

/// The qualities of an encoder, each once: its own, else those that are meant for all whose scales
/// count down.
pub(super) fn qualities(codec: Codec, own: Option<&[u32]>, all: &[u32]) -> Vec<u32> {
    let mut list = match (own, codec) {
        (Some(own), _) => own,
        (None, Codec::Neural) => &NEURAL,
        (None, _) => all,
    }
    .to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

/// What the number of a quality is called.
pub(super) fn scale(codec: Codec) -> &'static str {
    match codec {
        Codec::Neural => "quality",
        _ => "crf",
    }
}

/// The settings of a point.
pub(super) fn settings(codec: Codec, quality: u32, preset: &str) -> Settings {
    let (crf, preset, properties) = match codec {
        Codec::Neural => {
            let properties = [("quality", quality), ("keyint", NEURAL_KEYINT)];
            (
                None,
                None,
                properties.map(|(n, v)| (n.into(), v.to_string())).to_vec(),
            )
        }
        _ => (Some(quality), Some(preset.into()), Vec::new()),
    };
    Settings {
        codec,
        crf,
        bitrate_bps: None,
        preset,
        threads: 0,
        properties,
    }
}

/// The muxer for what an encoder makes.
pub(super) fn muxer(codec: Codec) -> &'static str {
    match codec {
        Codec::Neural => "neuralmkvmux",
        _ => "matroskamux",
    }
}

/// What points of an encoder are kept under beside their quality: its preset, or the networks of our own
/// encoder, which are trained further from version to version.
pub(super) fn variant(codec: Codec, preset: &str) -> Result<String, Failure> {
    match codec {
        Codec::Neural => networks(),
        _ => Ok(preset.into()),
    }
}

/// The networks that our encoder takes: `model-` and the first digits of their SHA-256, as a stream of one
/// frame states it.
fn networks() -> Result<String, Failure> {
    let pipeline = gst::Pipeline::new();
    let source = make("videotestsrc")?;
    source.set_property("num-buffers", 1i32);
    let size = make("capsfilter")?;
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", 16i32)
        .field("height", 16i32);
    size.set_property("caps", caps.build());
    let encoder = settings(Codec::Neural, NEURAL[0], "").make()?;
    add_chain(
        &pipeline,
        &[source, size, encoder.clone(), make("fakesink")?],
    )?;
    let bus = play(&pipeline)?;
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &wanted);
    let caps = src_pad(&encoder)?.current_caps();
    let _ = pipeline.set_state(gst::State::Null);
    if let Some(gst::MessageView::Error(e)) = message.as_ref().map(|m| m.view()) {
        return Err(Failure::from_gst(e));
    }
    let data = caps.as_ref().and_then(|c| c.structure(0));
    let data = data.and_then(|s| s.get::<gst::Buffer>("codec_data").ok());
    let data = data.as_ref().and_then(|b| b.map_readable().ok());
    // docs/bitstream.md: the hash stands at byte 28.
    match data.as_ref().and_then(|d| d.get(28..32)) {
        Some(hash) => Ok(format!(
            "model-{:08x}",
            u32::from_be_bytes(hash.try_into().map_err(fail)?)
        )),
        None => Err(fail("neuralenc does not say which networks it takes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_encoder_has_a_scale_of_its_own() {
        assert_eq!(parse("neural"), Ok(Codec::Neural));
        assert!(parse("ffv1").is_err());
        assert_eq!(qualities(Codec::X264, None, &[30, 20, 30]), [20, 30]);
        assert_eq!(qualities(Codec::Neural, None, &[30, 40]), NEURAL);
        assert_eq!(qualities(Codec::Neural, Some(&[7]), &[30, 40]), [7]);
        let settings = settings(Codec::Neural, 7, "medium");
        assert!(settings.validate().is_ok());
        assert_eq!(settings.properties[0], ("quality".into(), "7".into()));
    }
}
