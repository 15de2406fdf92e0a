//! `s3src` reads an object of S3, ahead of the pipeline and over several connections.
//!
//! ```text
//! gst-launch-1.0 s3src uri=s3://films/trailer.mp4 ! qtdemux ! h264parse ! avdec_h264 ! fakesink
//! gst-launch-1.0 playbin3 uri=s3://films/trailer.mp4
//! ```
//!
//! It is seekable, also for demuxers that pull (an MP4 whose index is at the end costs two small
//! requests more). The version found at the start is read to the end: an object that is replaced
//! meanwhile is an error. At most `parallel * range-size` bytes are held.
//!
//! When the object is opened, this element message is posted (typed: [`Opened`]):
//!
//! ```text
//! s3src-opened, uri=(string)s3://films/trailer.mp4, size=(guint64)73400320,
//!     etag=(string)"\"9b2c…\"", version-id=(string)…, content-type=(string)video/mp4;
//! ```
//!
//! The property `stats` is a structure `s3src-stats` with `requests`, `retries`, `bytes-received`,
//! `bytes-read`, `bytes-held` (guint64), `latency-p50`, `latency-p95` (guint64, ns) and
//! `throughput` (gdouble, bytes a second).

use gst::{glib, prelude::*};

mod imp;

glib::wrapper! {
    /// The element `s3src`.
    pub struct S3Src(ObjectSubclass<imp::S3Src>)
        @extends gst_base::BaseSrc, gst::Element, gst::Object,
        @implements gst::URIHandler;
}

/// Makes the element known to GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "s3src",
        gst::Rank::PRIMARY,
        S3Src::static_type(),
    )
}

const OPENED: &str = "s3src-opened";

/// The object that is being read, as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The object.
    pub uri: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its entity tag, quotes included.
    pub etag: Option<String>,
    /// The version, in a bucket with versions.
    pub version_id: Option<String>,
    /// The media type it was stored with.
    pub content_type: Option<String>,
}

impl Opened {
    /// Reads the message, if it is this one.
    pub fn from_message(message: &gst::MessageRef) -> Option<Self> {
        let structure = message.structure().filter(|s| s.name() == OPENED)?;
        let text = |name: &str| structure.get(name).ok();
        Some(Self {
            uri: text("uri")?,
            size: structure.get("size").ok()?,
            etag: text("etag"),
            version_id: text("version-id"),
            content_type: text("content-type"),
        })
    }

    fn to_structure(&self) -> gst::Structure {
        gst::Structure::builder(OPENED)
            .field("uri", &self.uri)
            .field("size", self.size)
            .field_if_some("etag", self.etag.as_deref())
            .field_if_some("version-id", self.version_id.as_deref())
            .field_if_some("content-type", self.content_type.as_deref())
            .build()
    }
}
