//! The lossless profile: samples themselves.
//!
//! A sample is predicted by a weighted sum of its neighbours and of samples of motion-compensated
//! references. The weights are chosen by the encoder, by least squares for each of a few classes of
//! blocks, and sent: decoding is a dot product. The difference is coded with a Laplace
//! table whose centre is the fraction that rounding took from the prediction, and whose scale is
//! chosen by the size of the differences around it; which size takes which scale is sent too. All
//! of it begins anew in every slice, so slices do not need each other.
//!
//! Classes of blocks with weights of their own are an old idea: Matsuda et al., "Lossless coding
//! using variable block-size adaptive prediction optimized for each image" (EUSIPCO 2005).
//! Differences quantised by `2 d + 1` give samples that err by at most `d` (JPEG-LS, ITU-T T.87).

mod analyse;
mod model;
mod scan;
mod sheet;
mod slice;
mod solve;
mod taps;

pub(crate) use sheet::Sheet;
pub(crate) use slice::{SliceJob, SliceRows, decode_slice, encode_slice};

use crate::bitstream::ModelHash;

/// SHA-256 of `tables/laplace.bin`, which streams of this profile name as their model.
pub const MODEL: ModelHash = [
    0x8c, 0x42, 0x55, 0xc1, 0xc4, 0x57, 0x3d, 0x8c, 0xdf, 0x73, 0xb9, 0x37, 0x46, 0xcf, 0x0c, 0x06,
    0xac, 0xf9, 0x8f, 0xa7, 0x83, 0xbd, 0x53, 0x60, 0x4d, 0x22, 0x65, 0xe4, 0x13, 0x98, 0x50, 0xb7,
];

/// Luma rows of a slice but the last, which also takes what is left below if that is less than
/// half as much.
pub const SLICE_ROWS: usize = 64;

/// How many slices a frame of `height` luma rows has.
pub fn slice_count(height: usize) -> usize {
    ((height + SLICE_ROWS / 2) / SLICE_ROWS).max(1)
}

/// The luma rows of slice `i`, which must be less than [`slice_count`].
pub(crate) fn slice_rows(height: usize, i: usize) -> std::ops::Range<usize> {
    let last = i + 1 >= slice_count(height);
    let top = (i * SLICE_ROWS).min(height);
    top..if last { height } else { top + SLICE_ROWS }
}

#[cfg(test)]
mod tests;
