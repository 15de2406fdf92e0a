//! Super-resolution models: metadata, ONNX import, sessions, tiles.
//!
//! A [`Model`] is loaded from an ONNX file found by a [`ModelStore`]; an [`Engine`] opens it for
//! one frame size and format and turns frames into frames. Nothing here knows of GStreamer.

#![deny(missing_docs)]

mod bound;
mod device;
mod engine;
#[cfg(test)]
mod engine_tests;
mod error;
pub mod gpu;
mod graph;
mod guard;
mod info;
mod load_control;
mod model;
mod narrow;
mod onnx;
mod pair;
mod reach;
mod rewrite;
mod route;
pub mod runtime;
mod session;
mod sink;
mod source;
mod store;
mod tensor;
#[cfg(test)]
mod testing;
mod tiles;
mod upscaler;

pub use device::{Device, Precision, Processor, gpu_is_there, gpus};
pub use engine::{Engine, Item, Mode, Options, Previous, Report, Tile};
pub use error::{Error, Result};
pub use info::{Blend, Channels, Declared, KEYS, MAX_SCALE, sidecar};
pub use load_control::{Decision, LoadControl};
pub use model::{Model, ModelInfo};
pub use pair::{PairModel, PairRange, PairSession};
pub use store::{Entry, MODEL_PATH_VARIABLE, ModelStore};
pub use tensor::{ElementType, Layout};
pub use upscaler::{Compare, Frame, Upscaler, UpscalerOptions};
