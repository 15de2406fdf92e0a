//! `f32` to samples, plainly or through depth-to-space.

use crate::CompMut;
use crate::kernels::{self, Quant, Shuffle};

/// Writes a `w` x `h` block at (`x`, `y`) of `dst`: `v * scale + bias`, rounded half up
/// and clamped to [0, 2^depth - 1]; NaN becomes 0. What lies outside `dst` is left out.
///
/// # Panics
/// If `src` ends before the last row.
#[allow(clippy::too_many_arguments)]
pub fn store(
    src: &[f32],
    src_stride: usize,
    w: usize,
    h: usize,
    scale: f32,
    bias: f32,
    dst: &mut CompMut<'_>,
    x: usize,
    y: usize,
) {
    let k = kernels::current();
    let mut dst = dst.rect(x, y, w, h);
    let layout = dst.layout();
    let quant = Quant::new(scale, bias, layout.max);
    let w = dst.width();
    for row in 0..dst.height() {
        (k.store_row)(
            &src[row * src_stride..][..w],
            quant,
            layout,
            dst.row_mut(row),
        );
    }
}

/// Depth-to-space in the copy-out.
///
/// `src` is [r * r][src_h][src_w], with `plane_stride` and `row_stride` in elements;
/// output pixel (r * j + dy, r * i + dx) is `src[dy * r + dx][j][i]`, the order of
/// PixelShuffle and of ONNX DepthToSpace in CRD mode for one output channel. Writes the
/// part of the shuffled image that begins at (`ox`, `oy`) and is `w` x `h` output pixels
/// large to (`x`, `y`) of `dst`, rounded as by [`store`]. What lies outside `dst` is left out.
///
/// # Panics
/// If `src` ends before the last pixel, or `r` is 0.
#[allow(clippy::too_many_arguments)]
pub fn store_shuffled(
    src: &[f32],
    plane_stride: usize,
    row_stride: usize,
    r: usize,
    ox: usize,
    oy: usize,
    w: usize,
    h: usize,
    scale: f32,
    bias: f32,
    dst: &mut CompMut<'_>,
    x: usize,
    y: usize,
) {
    let k = kernels::current();
    let mut dst = dst.rect(x, y, w, h);
    let layout = dst.layout();
    let quant = Quant::new(scale, bias, layout.max);
    let w = dst.width();
    for row in 0..dst.height() {
        let (base, shuffle) = shuffle_row(plane_stride, row_stride, r, ox, oy + row, w);
        (k.shuffle_row)(&src[base..], shuffle, quant, layout, dst.row_mut(row));
    }
}

/// As [`store_shuffled`], without quantising:
/// `dst[row * dst_stride + col]` is the shuffled image at (`ox` + col, `oy` + row).
///
/// # Panics
/// If `src` or `dst` ends before the last pixel, or `r` is 0.
#[allow(clippy::too_many_arguments)]
pub fn shuffle_f32(
    src: &[f32],
    plane_stride: usize,
    row_stride: usize,
    r: usize,
    ox: usize,
    oy: usize,
    w: usize,
    h: usize,
    dst: &mut [f32],
    dst_stride: usize,
) {
    if w == 0 {
        return;
    }
    let k = kernels::current();
    for row in 0..h {
        let (base, shuffle) = shuffle_row(plane_stride, row_stride, r, ox, oy + row, w);
        (k.shuffle_row_f32)(&src[base..], shuffle, &mut dst[row * dst_stride..][..w]);
    }
}

/// Where output row `oy` from column `ox` on begins, and how to walk it.
fn shuffle_row(
    plane_stride: usize,
    row_stride: usize,
    r: usize,
    ox: usize,
    oy: usize,
    w: usize,
) -> (usize, Shuffle) {
    let (j, dy) = (oy / r, oy % r);
    let base = dy * r * plane_stride + j * row_stride + ox / r;
    (
        base,
        Shuffle {
            plane_stride,
            r,
            first: ox % r,
            n: w,
        },
    )
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
