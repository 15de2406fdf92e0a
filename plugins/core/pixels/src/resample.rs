//! Separable polyphase resampling of one component.

pub use crate::scaler::{ChromaDown, ChromaUp, FrameScaler, chroma_phase};
pub use crate::taps::Filter;

use crate::error::zeros;
use crate::kernels::{self, Kernels, Quant, Ring};
use crate::taps::{MAX_FLOATS, Mapping, PADDING, Taps};
use crate::{CompMut, CompRef, MAX_DIMENSION, PixelError};

/// A filter along one axis, for those who run it elsewhere: output `i` is the sum of `taps` samples
/// from `starts[i]` on, each times its weight, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FilterTable<'a> {
    /// Samples that make up an output.
    pub taps: usize,
    /// First source sample of each output; `starts[i] + taps` is at most the source's length.
    pub starts: &'a [i32],
    /// `[output][tap]`.
    pub weights: &'a [f32],
}

impl<'a> FilterTable<'a> {
    fn of(taps: &'a Taps, outputs: usize) -> Self {
        Self {
            taps: taps.taps(),
            starts: &taps.starts()[..outputs],
            weights: taps.all_weights(),
        }
    }
}

/// Resamples components of one size to another. The tables are built once; running
/// allocates nothing.
#[derive(Debug, Clone)]
pub struct Resampler {
    across: Taps,
    down: Taps,
    dst_w: usize,
    dst_h: usize,
    /// One source row and [`PADDING`].
    line: Vec<f32>,
    /// `down.taps()` rows, filtered across.
    ring: Vec<f32>,
    /// One finished row.
    out: Vec<f32>,
}

impl Resampler {
    /// A resampler from `src_w` x `src_h` to `dst_w` x `dst_h` samples.
    ///
    /// Output sample i lies at source position `(i + 0.5) * src / dst - 0.5 + phase`;
    /// outside the source its edge is repeated.
    ///
    /// # Errors
    /// If a size is 0 or too large, or a phase lies outside -16..=16.
    pub fn new(
        src_w: usize,
        src_h: usize,
        dst_w: usize,
        dst_h: usize,
        filter: Filter,
        phase_x: f64,
        phase_y: f64,
    ) -> Result<Self, PixelError> {
        let map_x = Mapping::scale(src_w, dst_w.max(1), phase_x);
        let map_y = Mapping::scale(src_h, dst_h.max(1), phase_y);
        for phase in [phase_x, phase_y] {
            if !(-16.0..=16.0).contains(&phase) {
                return Err(PixelError::Phase(phase.to_string()));
            }
        }
        Self::mapped((src_w, src_h), (dst_w, dst_h), filter, map_x, map_y)
    }

    pub(crate) fn mapped(
        src: (usize, usize),
        dst: (usize, usize),
        filter: Filter,
        map_x: Mapping,
        map_y: Mapping,
    ) -> Result<Self, PixelError> {
        for (width, height) in [src, dst] {
            let fits = 1..=MAX_DIMENSION;
            if !fits.contains(&width) || !fits.contains(&height) {
                return Err(PixelError::Size { width, height });
            }
        }
        let across = Taps::new(src.0, dst.0, filter, map_x)?;
        let down = Taps::new(src.1, dst.1, filter, map_y)?;
        let ring = down.taps().saturating_mul(dst.0);
        if ring > MAX_FLOATS {
            return Err(PixelError::TooLarge {
                from: src.1,
                to: dst.1,
            });
        }
        Ok(Self {
            line: vec![0.0; src.0 + PADDING],
            ring: zeros(ring)?,
            out: vec![0.0; dst.0],
            across,
            down,
            dst_w: dst.0,
            dst_h: dst.1,
        })
    }

    /// The filters across and down.
    pub fn tables(&self) -> (FilterTable<'_>, FilterTable<'_>) {
        (
            FilterTable::of(&self.across, self.dst_w),
            FilterTable::of(&self.down, self.dst_h),
        )
    }

    /// Source width and height.
    pub fn src_size(&self) -> (usize, usize) {
        (self.across.from(), self.down.from())
    }

    /// Destination width and height.
    pub fn dst_size(&self) -> (usize, usize) {
        (self.dst_w, self.dst_h)
    }

    /// Resamples `src` into `dst`, rounding half up. Both should have the same depth.
    ///
    /// # Panics
    /// If a component does not have the size that the resampler was made for.
    pub fn run(&mut self, src: &CompRef<'_>, dst: &mut CompMut<'_>) {
        let layout = dst.layout();
        let quant = Quant::new(1.0, 0.0, layout.max);
        self.check(src, (dst.width(), dst.height()));
        self.rows(
            |k, y, line| (k.load_row)(src.row(y), src.layout(), 1.0, 0.0, line),
            |k, y, row| (k.store_row)(row, quant, layout, dst.row_mut(y)),
        );
    }

    /// As [`Resampler::run`] into `f32`: `dst[y * dst_stride + x]` = value * scale + bias,
    /// neither rounded nor clamped.
    ///
    /// # Panics
    /// If `src` has another size than the resampler was made for or `dst` is too short.
    pub fn run_to_f32(
        &mut self,
        src: &CompRef<'_>,
        scale: f32,
        bias: f32,
        dst: &mut [f32],
        dst_stride: usize,
    ) {
        let w = self.dst_w;
        self.check(src, self.dst_size());
        self.rows(
            |k, y, line| (k.load_row)(src.row(y), src.layout(), scale, bias, line),
            |_, y, row| dst[y * dst_stride..][..w].copy_from_slice(row),
        );
    }

    /// As [`Resampler::run`] from `f32`: each result is quantised as value * scale + bias.
    ///
    /// # Panics
    /// If `dst` has another size than the resampler was made for or `src` is too short.
    pub fn run_from_f32(
        &mut self,
        src: &[f32],
        src_stride: usize,
        scale: f32,
        bias: f32,
        dst: &mut CompMut<'_>,
    ) {
        let layout = dst.layout();
        let quant = Quant::new(scale, bias, layout.max);
        assert_eq!(
            (dst.width(), dst.height()),
            self.dst_size(),
            "destination size"
        );
        self.rows(
            |_, y, line| line.copy_from_slice(&src[y * src_stride..][..line.len()]),
            |k, y, row| (k.store_row)(row, quant, layout, dst.row_mut(y)),
        );
    }

    fn check(&self, src: &CompRef<'_>, dst: (usize, usize)) {
        assert_eq!((src.width(), src.height()), self.src_size(), "source size");
        assert_eq!(dst, self.dst_size(), "destination size");
    }

    fn rows(
        &mut self,
        mut fetch: impl FnMut(&'static Kernels, usize, &mut [f32]),
        mut emit: impl FnMut(&'static Kernels, usize, &[f32]),
    ) {
        let k = kernels::current();
        let (w, taps) = (self.dst_w, self.down.taps());
        let src_w = self.across.from();
        let mut next = 0;
        for y in 0..self.dst_h {
            let start = self.down.start(y);
            for row in next.max(start)..start + taps {
                fetch(k, row, &mut self.line[..src_w]);
                let slot = &mut self.ring[row % taps * w..][..w];
                (k.hfilter)(&self.line, &self.across, slot);
            }
            next = next.max(start + taps);
            let ring = Ring {
                data: &self.ring,
                stride: w,
                rows: taps,
            };
            (k.vfilter)(ring, start, self.down.weights(y), &mut self.out);
            emit(k, y, &self.out);
        }
    }
}

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
