//! Full-reference metrics of video quality.
//!
//! The crate knows nothing of GStreamer. A [`Comparer`] takes pairs of frames
//! ([`gstneural_pixels::FrameRef`]) and gives [`FrameScores`], a [`Summary`] pools them:
//!
//! ```
//! use gstneural_metrics::{Comparer, Config, Summary};
//! use gstneural_pixels::{Color, FrameBuf, PixelFormat};
//!
//! let frame = FrameBuf::new(PixelFormat::I420, 64, 48, Color::default())?;
//! let config = Config { metrics: "psnr,ssim".parse()?, ..Config::default() };
//! let mut comparer = Comparer::new(&config, &frame.as_ref())?;
//! let mut summary = Summary::new(comparer.columns());
//! for scores in comparer.push(&frame.as_ref(), &frame.as_ref())? {
//!     summary.add(&scores);
//! }
//! for scores in comparer.finish()? {
//!     summary.add(&scores);
//! }
//! let psnr = summary.pooled("psnr-y").ok_or("measured")?;
//! assert_eq!((psnr.mean, summary.identical()), (100.0, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What each number means, and what it cannot tell, is in `docs/quality.md`.
#![deny(missing_docs)]

mod compare;
mod error;
mod kernels;
pub mod limits;
#[cfg(feature = "lpips")]
mod lpips;
mod metric;
pub mod pool;
pub mod psnr;
mod rows;
pub mod ssim;
pub mod temporal;
#[cfg(test)]
mod testing;
#[cfg(feature = "vmaf")]
pub mod vmaf;

pub use compare::{Comparer, Config, FrameScores, measurable};
pub use error::MetricError;
pub use limits::{Limit, Limits, Violation};
pub use metric::{Column, Metric, MetricList, VmafModel, VmafModels};
pub use pool::{Pool, Pooled, Summary};
