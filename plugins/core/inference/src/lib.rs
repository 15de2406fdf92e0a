//! Super-resolution models: metadata, ONNX import, sessions and tiles.
#![deny(missing_docs)]
