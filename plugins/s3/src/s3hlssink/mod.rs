//! `s3hlssink` writes an HLS stream into S3: fragments of MPEG-TS and the playlist that names them.
//!
//! ```text
//! gst-launch-1.0 -e videotestsrc num-buffers=300 ! x264enc key-int-max=60 ! h264parse ! \
//!     queue ! hls.video  audiotestsrc num-buffers=430 ! avenc_aac ! aacparse ! queue ! hls.audio \
//!     s3hlssink name=hls location=s3://films/live/segment%05d.ts target-duration=2
//! ```
//!
//! It is a bin around `hlssink2` (or what the property `hlssink` gives instead). The playlist
//! comes last: it is written only when all fragments that it names are in S3. Up to three
//! fragments are held at a time (the one that is being written, and two on their way), each within
//! the bound of [`gstneural_s3::WriteOptions`]; the stream waits when they are as many. A fragment
//! or a playlist that cannot be written is an error, after which no playlist is written any more.
//! EOS is posted when everything is in S3. At a stop without EOS the fragments that are complete
//! stay, the playlist ends with them, and the fragment that is not complete is given up.
//!
//! With `max-files` above 0 the oldest fragments are deleted, after the playlist that no longer
//! names them is written; one that cannot be deleted is a warning.
//!
//! For each fragment, once the playlist that names it is in S3, this element message is posted
//! (typed: [`Segment`]):
//!
//! ```text
//! s3hlssink-segment, uri=(string)s3://films/live/segment00000.ts, size=(guint64)91932,
//!     duration=(guint64)2000000000;
//! ```

use gst::{glib, prelude::*};

mod imp;
mod location;
mod session;
mod settings;
mod stream;

glib::wrapper! {
    /// The element `s3hlssink`.
    pub struct S3HlsSink(ObjectSubclass<imp::S3HlsSink>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// Makes the element known to GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "s3hlssink",
        gst::Rank::NONE,
        S3HlsSink::static_type(),
    )
}

const SEGMENT: &str = "s3hlssink-segment";

/// A fragment that is in S3, as is the playlist that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The object.
    pub uri: String,
    /// Its length in bytes.
    pub size: u64,
    /// How long it plays, as the playlist says.
    pub duration: Option<gst::ClockTime>,
}

impl Segment {
    /// Reads the message, if it is this one.
    pub fn from_message(message: &gst::MessageRef) -> Option<Self> {
        let structure = message.structure().filter(|s| s.name() == SEGMENT)?;
        Some(Self {
            uri: structure.get("uri").ok()?,
            size: structure.get("size").ok()?,
            duration: structure.get::<gst::ClockTime>("duration").ok(),
        })
    }

    fn to_structure(&self) -> gst::Structure {
        gst::Structure::builder(SEGMENT)
            .field("uri", &self.uri)
            .field("size", self.size)
            .field_if_some("duration", self.duration)
            .build()
    }
}
