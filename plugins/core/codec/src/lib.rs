//! Video coding that decodes to the same bits everywhere.
//!
//! What is there: the [`bitstream`], an entropy coder with frozen tables ([`rans`]), integer
//! [`motion`] compensation, integer networks ([`nets`]) for the profiles `intra` and `inter`, and
//! the [`lossless`] profile. `docs/bitstream.md` specifies it. Nothing that decodes uses floating
//! point, and no result depends on the number of threads.
//!
//! ```
//! use gstneural_codec::{Config, Decoder, Encoder, Format, Picture, bitstream::Chroma};
//!
//! let format = Format { width: 70, height: 50, chroma: Chroma::C420, depth: 8 };
//! let bytes: Vec<u8> = (0..format.bytes()).map(|i| (i / 7) as u8).collect();
//! let picture = Picture::from_bytes(format, &bytes)?;
//!
//! let mut encoder = Encoder::new(Config { threads: 2, ..Config::new(format) })?;
//! let mut decoder = Decoder::new(&encoder.codec_data())?.threads(2);
//! let unit = encoder.encode(&picture)?;
//! let frame = decoder.decode(&unit)?;
//! assert!(frame.keyframe && !frame.corrupt);
//! assert_eq!(frame.picture.to_bytes(), bytes);
//! # Ok::<(), gstneural_codec::CodecError>(())
//! ```
#![deny(missing_docs)]

pub mod bitstream;
mod decoder;
mod encoder;
mod error;
pub mod lossless;
mod lossy;
pub mod motion;
pub mod nets;
mod parallel;
mod picture;
mod pool;
pub mod rans;

pub use decoder::{Decoded, Decoder, Layers};
pub use encoder::{Config, Encoder, Layer};
pub use error::{CodecError, Result};
pub use lossy::{
    BytePlanes, Copying, FrameLatents, LEVELS, Lossy, Rate, Stages, Synthesiser, check_synthesiser,
};
pub use picture::{Format, Picture, Plane};
