//! The lossless profile: samples themselves.
//!
//! A sample is predicted by a weighted sum of its neighbours and of samples of motion-compensated
//! references. The weights are chosen by the encoder, by least squares for each of a few classes of
//! blocks, and sent: decoding is a dot product. The difference is coded with one of 64 Laplace
//! tables, chosen by the size of the differences around it; which size takes which table is sent
//! too. All of it begins anew in every slice, so slices do not need each other.
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
pub(crate) use slice::{SliceJob, decode_slice, encode_slice};

use crate::bitstream::ModelHash;

/// SHA-256 of `tables/laplace64.bin`, which streams of this profile name as their model.
pub const MODEL: ModelHash = [
    0x8e, 0x57, 0x52, 0xe4, 0xa7, 0xfe, 0xba, 0x2f, 0x3e, 0xfd, 0xbd, 0x76,
    0xbc, 0x8b, 0x35, 0x2f, 0x15, 0x04, 0x27, 0x5b, 0x61, 0x6e, 0x36, 0x5b,
    0x7b, 0x98, 0x17, 0x91, 0x4a, 0x68, 0xa0, 0x23,
];

/// Luma rows of a slice.
pub const SLICE_ROWS: usize = 64;

#[cfg(test)]
mod tests;
