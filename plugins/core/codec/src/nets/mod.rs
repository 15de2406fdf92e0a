//! Networks of the lossy profiles: integers only, so that every machine decodes the same.
//!
//! A picture (8-bit 4:2:0) becomes latents at 1/16 of its size, of which the entropy coder writes
//! quantised values; hyper-latents at 1/64 tell it how they are spread. Weights come from a
//! [`Model`] file. Activations are 16-bit in units of 1/8 of a sample, sums 32-bit; layouts are
//! row by row with the channels of a position together.
//!
//! Layers of a picture do not run one after the other: a row goes through all of them as soon as the
//! rows that they need are there, which keeps what lies between in the cache (5 to 8 % faster than
//! whole layers at 1280x720 with 32 MiB of cache). Nothing here makes threads: slices are pictures of
//! their own, and run beside each other.
//!
//! Decoding a frame takes [`DecoderNets::hyper`] and the entropy decoder for each group of latents
//! in turn, then [`DecoderNets::synthesise`]. Encoding: [`EncoderNets::analyse`], and
//! [`EncoderNets::hyper_analyse`] for each slice.

mod codebooks;
mod conformance;
mod decoder;
mod dense;
mod depthwise;
mod elementwise;
mod encoder;
mod file;
mod hyper;
mod kernels;
mod layers;
mod layout;
mod load;
mod model;
mod seal;
mod search;
#[cfg(target_arch = "x86_64")]
mod simd;
mod synthetic;
mod trunk;

pub use codebooks::Codebooks;
pub(crate) use codebooks::{Latents, MAX_PART, Part};
pub(crate) use conformance::{Xorshift, hash_with};
pub use decoder::{DecoderNets, LatentInput, SynthesisWorkspace};
pub use encoder::{AnalysisWorkspace, EncoderNets, HyperAnalysisWorkspace};
pub use hyper::{BAND_ROWS, HyperNets, HyperWorkspace};
pub use kernels::Kernels;
pub use layers::{BlockNumbers, DenseNumbers, DepthwiseNumbers, SynthesisNumbers};
pub use model::{Kind, Level, Model};
pub use seal::seal;
#[doc(hidden)]
pub use synthetic::Sizes;

/// Levels of quality.
pub const LEVELS: usize = 32;
/// Channels of hyper-latents.
pub const HYPER: usize = 32;
/// Channels of samples at 1/8 of the picture's size: 64 of luma, 16 each of U and V.
const PIXELS: usize = 96;
/// The greatest magnitude of an activation.
const LIMIT: i16 = 2047;

#[cfg(test)]
mod tests;
