//! element-nnupscale: upscales video by a super-resolution network.
//!
//! Any ONNX super-resolution network of one (luma) or three (RGB) channels is taken, with any whole
//! scale; some are shipped and found by name. Luma goes through a luma network as it is, without a
//! colour conversion, and chroma through a phase-correct filter. Each frame that comes in goes out.
//!
//! ## Example pipeline
//! ```text
//! gst-launch-1.0 filesrc location=in.mp4 ! decodebin3 ! nnupscale model=luma-x2 ! videoconvert ! x264enc ! mp4mux ! filesink location=out.mp4
//! ```
//!
//! ## Messages
//! An element message `nnupscale-stats` is posted at the end of the stream, and every
//! `stats-interval` if that is set; [`Stats::parse`] reads it:
//! ```text
//! nnupscale-stats, frames=(guint64)90, dropped-frames=(guint64)0, fallback-frames=(guint64)0,
//!   tiles=(guint64)90, tiles-reused=(guint64)0, inference-p50-ns=(guint64)21000000,
//!   inference-p95-ns=(guint64)24000000, model=(string)luma-x2-compressed, scale=(uint)2;
//! ```
//! `nnupscale-fallback` tells that the network was left out, or is used again:
//! ```text
//! nnupscale-fallback, active=(boolean)true, running-time=(guint64)1033333333;
//! ```

use gst::{glib, prelude::*};

mod caps;
mod cuda;
mod frames;
mod gpu;
mod imp;
mod reuse;
mod settings;
mod stats;
mod work;

pub use settings::{AlphaMode, CompareMode, Device, FilterMode, Precision, QosMode, RouteMode};
pub use stats::{FallbackEvent, Stats};

glib::wrapper! {
    /// The element `nnupscale`.
    pub struct NnUpscale(ObjectSubclass<imp::NnUpscale>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    imp::set_anchor(plugin.filename());
    gst::Element::register(
        Some(plugin),
        "nnupscale",
        gst::Rank::NONE,
        NnUpscale::static_type(),
    )
}
