//! The ONNX messages that `build.rs` generates, and the trait to parse and write them.

#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]

include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));

pub(crate) use onnx::*;
pub(crate) use protobuf::Message;
