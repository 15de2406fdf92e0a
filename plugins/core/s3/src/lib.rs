//! Streaming transfers from and to S3, free of GStreamer.
//!
//! [`ObjectReader`] reads an object anywhere, ahead of the reader and over several connections;
//! [`ObjectWriter`] writes one in parts, several at a time; [`delete_object`] removes one. They hold a bounded amount of memory
//! (stated at their options), try again where that helps, and end with the right bytes or with an
//! [`S3Error`] that says what to do. All transfers of a process share one small runtime
//! ([`runtime::handle`]) and one set of connections.

#![deny(missing_docs)]

mod checksum;
mod client;
mod delete;
mod error;
mod http;
mod options;
mod reader;
mod retry;
pub mod runtime;
mod uri;
mod writer;

/// What stands in for the network and for waiting, for fuzzing. Not meant for other use.
#[doc(hidden)]
pub mod testing {
    pub use crate::{http::replace as replace_http, retry::without_pauses};
}

pub use checksum::Checksum;
pub use delete::delete_object;
pub use error::{ErrorKind, S3Error};
pub use options::{Connection, Credentials, Secret};
pub use reader::{ObjectInfo, ObjectReader, ReadOptions, ReadStats};
pub use uri::{S3Uri, UriError};
pub use writer::{
    Attributes, Encryption, Finished, ObjectWriter, OnError, Progress, ProgressMeter, WriteOptions,
};
