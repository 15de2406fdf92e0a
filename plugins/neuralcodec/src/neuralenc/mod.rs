//! element-neuralenc: codes video so that it decodes to the same bits everywhere.
//!
//! One frame in, one access unit out. `near` allows an error of each sample, which makes the stream
//! smaller. The caps that come out carry `codec_data`; keyframes are sync points.
//!
//! ## Example pipeline
//! ```text
//! gst-launch-1.0 videotestsrc num-buffers=90 ! video/x-raw,format=I420 ! neuralenc keyint=30 ! neuralmkvmux ! filesink location=out.mkv
//! ```

use gst::{glib, prelude::*};

mod imp;
mod settings;

pub use crate::coding::{LayerChoice, ProfileChoice};

glib::wrapper! {
    /// The element `neuralenc`.
    pub struct NeuralEnc(ObjectSubclass<imp::NeuralEnc>)
        @extends gst_video::VideoEncoder, gst::Element, gst::Object,
        @implements gst::Preset;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "neuralenc",
        gst::Rank::PRIMARY,
        NeuralEnc::static_type(),
    )
}
