//! element-neuralmkvmux: Matroska files with video of `neuralenc`, sound and subtitles.
//!
//! A bin around `matroskamux`, which has no name for this video. The track is written as Matroska's
//! `V_MS/VFW/FOURCC` with the FourCC `GNVC` and `codec_data` behind the header that this needs;
//! before each keyframe stands `codec_data` once more, since demuxers do not hand out what a track
//! says that they do not know. `matroskademux ! neuraldec` and players read such files.
//!
//! Properties of `matroskamux` are set as `mux::NAME`.
//!
//! ## Example pipeline
//! ```text
//! gst-launch-1.0 neuralmkvmux name=m ! filesink location=out.mkv videotestsrc num-buffers=90 ! neuralenc ! m. audiotestsrc num-buffers=130 ! opusenc ! m.
//! ```

use gst::{glib, prelude::*};

mod imp;
mod video;

/// The FourCC of the video track.
pub const FOURCC: &str = "GNVC";

glib::wrapper! {
    /// The element `neuralmkvmux`.
    pub struct NeuralMkvMux(ObjectSubclass<imp::NeuralMkvMux>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "neuralmkvmux",
        gst::Rank::NONE,
        NeuralMkvMux::static_type(),
    )
}
