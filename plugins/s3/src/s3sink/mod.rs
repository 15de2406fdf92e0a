//! `s3sink` writes an object of S3 while the pipeline runs, in parts, several at a time.
//!
//! ```text
//! gst-launch-1.0 -e videotestsrc num-buffers=300 ! x264enc ! mp4mux ! \
//!     s3sink uri=s3://films/test.mp4
//! gst-launch-1.0 -e videotestsrc num-buffers=900 ! x264enc key-int-max=60 ! h264parse ! \
//!     splitmuxsink max-size-time=2000000000 sink-factory=s3sink location=s3://films/part%05d.mp4
//! ```
//!
//! The object appears when it is complete, and not at all if the stream ends without EOS
//! (`on-error=abort`, the default; an error is posted). The first part is held back to the end and
//! can be rewritten until then, so that muxers write proper headers; of the rest only the part that
//! is being filled can. For the first thousand parts at most `(parallel + 2) * part-size` bytes are
//! held.
//!
//! Once a second, and at the end, these element messages are posted (typed: [`Uploading`],
//! [`Uploaded`]):
//!
//! ```text
//! s3sink-progress, bytes-written=(guint64)…, bytes-uploaded=(guint64)…, parts-uploaded=(uint)…,
//!     parts-in-flight=(uint)…, parts-resumed=(uint)…, retries=(guint64)…, upload-id=(string)…;
//! s3sink-finished, uri=(string)s3://films/test.mp4, size=(guint64)…, parts=(uint)…,
//!     etag=(string)…, version-id=(string)…, checksum=(string)…;
//! ```
//!
//! The property `stats` is the first of these structures.

use gst::{glib, prelude::*};

mod content_type;
mod imp;
mod messages;
mod settings;

pub use messages::{Uploaded, Uploading};
pub use settings::{ChecksumKind, EncryptionKind, ErrorAction};

glib::wrapper! {
    /// The element `s3sink`.
    pub struct S3Sink(ObjectSubclass<imp::S3Sink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object,
        @implements gst::URIHandler;
}

/// Makes the element known to GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "s3sink",
        gst::Rank::PRIMARY,
        S3Sink::static_type(),
    )
}
