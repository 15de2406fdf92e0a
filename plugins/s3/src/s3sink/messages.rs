//! The messages, and typed access to them.

use gstneural_s3::{Finished, Progress};

const PROGRESS: &str = "s3sink-progress";
const FINISHED: &str = "s3sink-finished";

/// How far an upload has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uploading {
    /// Bytes taken so far.
    pub bytes_written: u64,
    /// Bytes that are on the server.
    pub bytes_uploaded: u64,
    /// Parts that are on the server, those of an earlier run included.
    pub parts_uploaded: u32,
    /// Parts on their way.
    pub parts_in_flight: u32,
    /// Parts that an earlier run had uploaded.
    pub parts_resumed: u32,
    /// Requests that were made again, after a failure.
    pub retries: u64,
    /// The id of the upload, once there is one.
    pub upload_id: Option<String>,
}

impl Uploading {
    /// Reads the message, if it is this one.
    pub fn from_message(message: &gst::MessageRef) -> Option<Self> {
        let structure = message.structure().filter(|s| s.name() == PROGRESS)?;
        Some(Self {
            bytes_written: structure.get("bytes-written").ok()?,
            bytes_uploaded: structure.get("bytes-uploaded").ok()?,
            parts_uploaded: structure.get("parts-uploaded").ok()?,
            parts_in_flight: structure.get("parts-in-flight").ok()?,
            parts_resumed: structure.get("parts-resumed").ok()?,
            retries: structure.get("retries").ok()?,
            upload_id: structure.get("upload-id").ok(),
        })
    }
}

pub(super) fn progress(progress: &Progress) -> gst::Structure {
    gst::Structure::builder(PROGRESS)
        .field("bytes-written", progress.bytes_written)
        .field("bytes-uploaded", progress.bytes_uploaded)
        .field("parts-uploaded", progress.parts_uploaded)
        .field("parts-in-flight", progress.parts_in_flight)
        .field("parts-resumed", progress.parts_resumed)
        .field("retries", progress.retries)
        .field_if_some("upload-id", progress.upload_id.as_deref())
        .build()
}

/// An object that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The object.
    pub uri: String,
    /// Its length in bytes.
    pub size: u64,
    /// Parts it was uploaded in; 0: by one PutObject.
    pub parts: u32,
    /// Its entity tag, quotes included.
    pub etag: Option<String>,
    /// Its version, in a bucket with versions.
    pub version_id: Option<String>,
    /// The checksum of the whole, in base 64.
    pub checksum: Option<String>,
}

impl Uploaded {
    /// Reads the message, if it is this one.
    pub fn from_message(message: &gst::MessageRef) -> Option<Self> {
        let structure = message.structure().filter(|s| s.name() == FINISHED)?;
        let text = |name: &str| structure.get(name).ok();
        Some(Self {
            uri: text("uri")?,
            size: structure.get("size").ok()?,
            parts: structure.get("parts").ok()?,
            etag: text("etag"),
            version_id: text("version-id"),
            checksum: text("checksum"),
        })
    }
}

pub(super) fn finished(uri: &str, finished: &Finished) -> gst::Structure {
    gst::Structure::builder(FINISHED)
        .field("uri", uri)
        .field("size", finished.size)
        .field("parts", finished.parts)
        .field_if_some("etag", finished.etag.as_deref())
        .field_if_some("version-id", finished.version_id.as_deref())
        .field_if_some("checksum", finished.checksum.as_deref())
        .build()
}
