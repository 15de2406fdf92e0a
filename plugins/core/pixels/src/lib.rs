//! Planes, colour, chroma and resampling for gst-neural.
//!
//! The crate knows nothing of GStreamer. A frame is a set of borrowed planes
//! ([`FrameRef`], [`FrameMut`]) of a [`PixelFormat`]; a component of it ([`CompRef`],
//! [`CompMut`]) is a 2-D array of samples, whatever the packing. What works on them:
//!
//! - [`load()`] and [`store()`] between samples and `f32`, [`store_shuffled`] through
//!   depth-to-space;
//! - [`YuvRgb`] between YUV and RGB;
//! - [`Resampler`], [`FrameScaler`], [`ChromaUp`], [`ChromaDown`];
//! - [`mix`], [`replace_luma`], [`split_view`], [`blit`], [`Stabilizer`], [`rect_equal`].
//!
//! Sizes are checked where a frame, a component or a table is made; what runs for every
//! frame allocates nothing. Each kernel exists in plain Rust, which is its specification,
//! and where it pays with AVX2, chosen at run time, with bit-identical results; see
//! [`Backend`].
#![deny(missing_docs)]

pub mod color;
pub mod component;
pub mod equal;
mod error;
pub mod format;
pub mod frame;
mod kernels;
pub mod load;
mod plain;
pub mod post;
pub mod resample;
mod scaler;
#[cfg(target_arch = "x86_64")]
mod simd;
pub mod stabilize;
pub mod store;
mod taps;
#[cfg(test)]
mod testing;

pub use color::{ChromaSite, Coefficients, Color, Matrix, Range, SiteH, SiteV, YuvRgb};
pub use component::{CompMut, CompRef, CompShape};
pub use equal::rect_equal;
pub use error::PixelError;
pub use format::{Component, Family, FormatInfo, PixelFormat, subsampled};
pub use frame::{FrameBuf, FrameMut, FrameRef, MAX_PLANES, PlaneMut, PlaneRef};
pub use kernels::{Backend, backend_name, with_backend};
pub use load::{Rect, load};
pub use post::{blit, mix, replace_luma, split_view};
pub use resample::{
    ChromaDown, ChromaUp, Filter, FilterTable, FrameScaler, Resampler, chroma_phase,
};
pub use scaler::fill_padding;
pub use stabilize::Stabilizer;
pub use store::{shuffle_f32, store, store_shuffled};

/// The largest width or height of a frame or component.
pub const MAX_DIMENSION: usize = 1 << 16;
