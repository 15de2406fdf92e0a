//! Samples to `f32`.

use crate::{CompRef, kernels};

/// A rectangle of samples that may reach beyond the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: isize,
    /// Top edge.
    pub y: isize,
    /// Width in samples.
    pub w: usize,
    /// Height in samples.
    pub h: usize,
}

impl Rect {
    /// The rectangle that covers all of `comp`.
    pub fn of(comp: &CompRef<'_>) -> Self {
        Self {
            x: 0,
            y: 0,
            w: comp.width(),
            h: comp.height(),
        }
    }
}

/// `dst[row * dst_stride + col] = sample(clamp(x + col), clamp(y + row)) * scale + bias`:
/// outside the component its edge is repeated. An empty component reads as 0.
///
/// # Panics
/// If `dst` ends before the last row, or rows overlap (`dst_stride` < `w`).
pub fn load(
    src: &CompRef<'_>,
    rect: Rect,
    scale: f32,
    bias: f32,
    dst: &mut [f32],
    dst_stride: usize,
) {
    let Rect { x, y, w, h } = rect;
    if w == 0 || h == 0 {
        return;
    }
    assert!(dst_stride >= w || h == 1, "rows overlap");
    let (width, height) = (src.width(), src.height());
    if width == 0 || height == 0 {
        (0..h).for_each(|row| dst[row * dst_stride..][..w].fill(bias));
        return;
    }
    let k = kernels::current();
    let layout = src.layout();
    // The row is `left` copies of the first sample read, `inner` samples, then the last one's.
    let left = x.saturating_neg().clamp(0, w as isize) as usize;
    let from = x.clamp(0, width as isize - 1) as usize;
    let inner = (w - left).min(width.saturating_sub(x.max(0) as usize));
    let mut done: Option<(usize, usize)> = None;
    for row in 0..h {
        let sy = y.saturating_add(row as isize).clamp(0, height as isize - 1) as usize;
        if let Some((at, previous)) = done
            && previous == sy
        {
            dst.copy_within(at..at + w, row * dst_stride);
            continue;
        }
        let out = &mut dst[row * dst_stride..][..w];
        let samples = src.row(sy);
        let tail = &samples[from * layout.step * layout.bytes..];
        let (pad_left, rest) = out.split_at_mut(left);
        let (middle, pad_right) = rest.split_at_mut(inner);
        (k.load_row)(tail, layout, scale, bias, middle);
        let mut edge = [0.0];
        if !pad_left.is_empty() {
            (k.load_row)(samples, layout, scale, bias, &mut edge);
            pad_left.fill(edge[0]);
        }
        if !pad_right.is_empty() {
            let last = &samples[(width - 1) * layout.step * layout.bytes..];
            (k.load_row)(last, layout, scale, bias, &mut edge);
            pad_right.fill(edge[0]);
        }
        done = Some((row * dst_stride, sy));
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
