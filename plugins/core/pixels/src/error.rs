//! The one error type of the crate.

use crate::PixelFormat;

/// Why a frame, a plane or a table could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PixelError {
    /// A width or height of zero, or one beyond [`MAX_DIMENSION`](crate::MAX_DIMENSION).
    #[error("size {width}x{height} is outside 1x1..={max}x{max}", max = crate::MAX_DIMENSION)]
    Size {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// Fewer or more planes than the format has.
    #[error("{format:?} has {expected} planes, {actual} were given")]
    PlaneCount {
        /// The format.
        format: PixelFormat,
        /// Planes of the format.
        expected: usize,
        /// Planes that were given.
        actual: usize,
    },
    /// A row of samples does not fit into the stride.
    #[error("plane {plane}: a stride of {stride} bytes is less than a row of {row_bytes}")]
    Stride {
        /// Index of the plane.
        plane: usize,
        /// The stride that was given.
        stride: usize,
        /// Bytes that a row needs.
        row_bytes: usize,
    },
    /// The memory ends before the last sample.
    #[error("plane {plane}: {actual} bytes, {needed} are needed")]
    Length {
        /// Index of the plane.
        plane: usize,
        /// Bytes that were given.
        actual: usize,
        /// Bytes that are needed.
        needed: usize,
    },
    /// A sample layout that does not exist: depth, shift and bytes do not agree.
    #[error("{depth} bits << {shift} in {sample_bytes} bytes, step {step}, is no sample layout")]
    Layout {
        /// Significant bits.
        depth: u8,
        /// Bits the value is shifted up by.
        shift: u8,
        /// Bytes a sample.
        sample_bytes: usize,
        /// Samples from one value to the next.
        step: usize,
    },
    /// A resampling phase that is not a number or out of all proportion.
    #[error("resampling phase {0} is outside -16..=16 samples")]
    Phase(String),
    /// The working memory of a table would exceed what is sensible.
    #[error("resampling {from} to {to} samples needs too much memory")]
    TooLarge {
        /// Source samples.
        from: usize,
        /// Destination samples.
        to: usize,
    },
}
