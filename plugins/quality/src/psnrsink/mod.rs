//! element-psnrsink: measures video against a reference.
//!
//! One pad takes the reference, each further one a distorted version of it; frames are paired by
//! running time (or by count). PSNR, SSIM, MS-SSIM, VMAF, banding, colour difference, temporal
//! noise and LPIPS are measured for each pair. At the end there is one summary, and if `fail-under` is set, a
//! verdict: a quality gate for continuous integration.
//!
//! ## Example pipeline
//! ```text
//! gst-launch-1.0 -m psnrsink name=q metrics=psnr,ssim,vmaf fail-under=vmaf=80 \
//!   filesrc location=original.mp4 ! decodebin ! queue ! q.reference \
//!   filesrc location=encoded.mp4 ! decodebin ! queue ! q.distorted
//! ```
//!
//! ## Messages
//! At the end, before EOS, one element message `psnrsink-summary`, which [`Summary::parse`] reads:
//! ```text
//! psnrsink-summary, pads=(structure)<
//!   "psnrsink-pad, pad=(string)distorted, frames=(guint64)250, identical=(guint64)0,
//!     missing=(guint64)0, extra=(guint64)0, repeated=(guint64)0, late=(guint64)0,
//!     metrics=(structure)< [psnrsink-metric, name=(string)psnr-y, frames=(guint64)250,
//!       mean=(double)38.1, harmonic-mean=(double)38.0, min=(double)35.2, max=(double)44.9,
//!       p1=(double)35.3, p5=(double)35.9, of-mean-mse=(double)37.9], ... >;" >;
//! ```
//! `psnrsink-fault` ([`Fault::parse`]) tells what is wrong with the frames:
//! ```text
//! psnrsink-fault, pad=(string)distorted, kind=(string)missing, frame=(guint64)17,
//!   count=(guint64)2, running-time=(guint64)680000000, text=(string)"...";
//! ```
//! `psnrsink-frame` ([`Frame::parse`]) has the scores of a pair, with `message-per-frame`:
//! ```text
//! psnrsink-frame, pad=(string)distorted, frame=(guint64)0, distorted-frame=(guint64)0,
//!   identical=(boolean)false, running-time=(guint64)0, psnr-y=(double)38.2, ...;
//! ```

use gst::{glib, prelude::*};

mod channel;
mod frames;
mod imp;
mod log;
mod messages;
mod pairing;
mod queues;
mod settings;
mod upstream;
mod worker;

pub use gstneural_metrics::{Pool, Pooled};
pub use messages::{Fault, FaultCounts, FaultKind, Frame, PadSummary, Summary};
pub use settings::{LogFormat, Pairing, Scale};

glib::wrapper! {
    /// The element `psnrsink`.
    pub struct PsnrSink(ObjectSubclass<imp::PsnrSink>)
        @extends gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    settings::set_anchor(plugin.filename());
    gst::Element::register(
        Some(plugin),
        "psnrsink",
        gst::Rank::NONE,
        PsnrSink::static_type(),
    )
}
