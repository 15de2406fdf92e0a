//! Video coding that decodes to the same bits everywhere.
#![deny(missing_docs)]

pub mod bitstream;
mod decoder;
mod encoder;
mod error;
pub mod lossless;
pub mod motion;
mod parallel;
mod picture;
pub mod rans;

pub use decoder::{Decoded, Decoder};
pub use encoder::{Config, Encoder};
pub use error::{CodecError, Result};
pub use picture::{Format, Picture, Plane};
