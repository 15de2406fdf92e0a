//! element-neuraldec: decodes what `neuralenc` codes.
//!
//! Decoding begins at a keyframe; frames before the first one are left out. A damaged frame shows
//! what can be shown, is flagged `GST_BUFFER_FLAG_CORRUPTED`, counts as one of `max-errors` and asks
//! upstream for a keyframe.
//!
//! A stream of another version or model is refused; the error names what is needed.
//!
//! ## Example pipeline
//! ```text
//! gst-launch-1.0 filesrc location=in.mkv ! matroskademux ! neuraldec ! videoconvert ! autovideosink
//! ```

use gst::{glib, prelude::*};

mod imp;
mod settings;
mod stream;

glib::wrapper! {
    /// The element `neuraldec`.
    pub struct NeuralDec(ObjectSubclass<imp::NeuralDec>)
        @extends gst_video::VideoDecoder, gst::Element, gst::Object;
}

pub use crate::coding::{Device, LayersChoice};

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "neuraldec",
        gst::Rank::PRIMARY,
        NeuralDec::static_type(),
    )
}
