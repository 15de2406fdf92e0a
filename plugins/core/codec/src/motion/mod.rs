//! Integer block motion compensation: prediction blocks of 16x16 or 8x8 luma samples, vectors in
//! quarter samples, a 6-tap filter for planes of full size, bilinear where chroma is subsampled.
//!
//! The filters are those of ITU-T H.264 (8.4.2.2): (1, -5, 20, 20, -5, 1)/32 for half positions and
//! the mean of the two nearest for quarter positions; 1/8 steps for subsampled chroma. Decoded
//! H.264 video, which most video is, can so be predicted without any error.
//!
//! All arithmetic is on integers: every machine predicts the same.

mod coding;
mod compensate;
mod halves;
mod reference;
mod search;
mod vectors;

pub(crate) use coding::Symbols;
pub use coding::{MOTION_TABLES, MotionTables, motion_symbols};
pub use compensate::{Kernels, compensate, compensate_block};
pub use halves::Halves;
pub use reference::{PADDING, PaddedPlane, Reference};
pub(crate) use search::search_into;
pub use search::{SearchConfig, search};
pub(crate) use vectors::FieldScratch;
pub use vectors::{BlockMode, Field, MAX_VECTOR, Vector};

/// Luma rows and columns of a macroblock.
pub const BLOCK: usize = 16;

#[cfg(test)]
mod tests;
