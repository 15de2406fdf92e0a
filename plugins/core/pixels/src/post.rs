//! What happens to a frame after the net: blending, luma replacement, comparison views.

use crate::color::anchors;
use crate::format::{Family, subsampled};
use crate::kernels::{self, Quant};
use crate::{CompMut, CompRef, FrameMut, FrameRef, PlaneMut, YuvRgb};

fn assert_alike(dst: &FrameMut<'_>, src: &FrameRef<'_>) {
    assert_eq!(dst.format(), src.format(), "formats differ");
    assert_eq!(
        (dst.width(), dst.height()),
        (src.width(), src.height()),
        "sizes differ"
    );
}

/// `dst = classical + weight * (dst - classical)`, rounded half up, on every component but
/// alpha and padding, which stay as they are in `dst`. `weight` is clamped to [0, 1].
///
/// # Panics
/// If the frames differ in format or size.
pub fn mix(dst: &mut FrameMut<'_>, classical: &FrameRef<'_>, weight: f32) {
    assert_alike(dst, classical);
    if weight >= 1.0 {
        return;
    }
    let weight = if weight > 0.0 { weight } else { 0.0 };
    let k = kernels::current();
    let format = dst.format();
    let info = format.info();
    let alpha = info.alpha.map(|c| info.components[c].offset);
    let kept = alpha.or(info.padding.map(|(_, offset)| offset));
    let keep = kept.map_or(0, |offset| 1u8 << offset);
    for p in 0..info.planes {
        let Some(c) = info.components.iter().position(|c| c.plane == p) else {
            continue;
        };
        let layout = dst.component_mut(c).layout();
        let (row_bytes, rows) = format.plane_size(p, dst.width(), dst.height());
        let src = classical.plane(p);
        let PlaneMut { data, stride } = dst.plane_mut(p);
        for y in 0..rows {
            let row = &mut data[y * stride..][..row_bytes];
            (k.mix_row)(
                row,
                &src.data[y * src.stride..][..row_bytes],
                weight,
                layout,
                keep,
            );
        }
    }
}

/// Pixels that are converted at a time, on the stack.
const CHUNK: usize = 256;

/// Gives an RGB frame that holds the classical upscale the luma of the net: the difference
/// between `luma` and the frame's own luma, times [`YuvRgb::luma_gain`], is added to R, G
/// and B of each pixel, and the sum is rounded and clamped.
///
/// # Panics
/// If `dst` is not RGB or `luma` has another size.
pub fn replace_luma(dst: &mut FrameMut<'_>, luma: &CompRef<'_>, yuv: &YuvRgb) {
    let info = dst.format().info();
    assert_eq!(info.family, Family::Rgb, "not RGB");
    assert_eq!(
        (dst.width(), dst.height()),
        (luma.width(), luma.height()),
        "sizes differ"
    );
    let k = kernels::current();
    let gain = yuv.luma_gain();
    let luma_scale = 1.0 / luma.max_value() as f32;
    let max = ((1u32 << info.depth) - 1) as f32;
    let mut rgb = [[0.0f32; CHUNK]; 3];
    let (mut target, mut own) = ([0.0f32; CHUNK], [0.0f32; CHUNK]);
    for y in 0..dst.height() {
        for x in (0..dst.width()).step_by(CHUNK) {
            let n = CHUNK.min(dst.width() - x);
            for (c, row) in rgb.iter_mut().enumerate() {
                let comp = dst.component_mut(c);
                let comp = comp.as_ref().rect(x, y, n, 1);
                (k.load_row)(comp.row(0), comp.layout(), 1.0 / max, 0.0, &mut row[..n]);
            }
            let wanted = luma.rect(x, y, n, 1);
            (k.load_row)(
                wanted.row(0),
                wanted.layout(),
                luma_scale,
                0.0,
                &mut target[..n],
            );
            let [r, g, b] = &mut rgb;
            yuv.luma(&r[..n], &g[..n], &b[..n], &mut own[..n]);
            for i in 0..n {
                let delta = (target[i] - own[i]) * gain;
                r[i] += delta;
                g[i] += delta;
                b[i] += delta;
            }
            for (c, row) in rgb.iter().enumerate() {
                let mut comp = dst.component_mut(c);
                let mut comp = comp.rect(x, y, n, 1);
                let layout = comp.layout();
                let quant = Quant::new(max, 0.0, layout.max);
                (k.store_row)(&row[..n], quant, layout, comp.row_mut(0));
            }
        }
    }
}

/// Compare view: the columns left of `split` (any value; rounded down to the chroma grid
/// and cut to the width) of `dst` are taken from `other`, and a white line of two pixels
/// marks the border, unless that lies on an edge of the frame.
///
/// # Panics
/// If the frames differ in format or size.
pub fn split_view(dst: &mut FrameMut<'_>, other: &FrameRef<'_>, split: usize) {
    assert_alike(dst, other);
    let format = dst.format();
    let info = format.info();
    let (width, height) = (dst.width(), dst.height());
    let whole = split >= width;
    let split = if whole {
        width
    } else {
        split - split % format.grid().0
    };
    copy(dst, other, (0, 0), (split, height));
    if split == 0 || whole {
        return;
    }
    let (_, white, neutral) = anchors(dst.color().range, info.depth);
    for (c, comp) in info.components.iter().enumerate() {
        let value = match (info.family, c) {
            (Family::Rgb, _) => u32::MAX,
            (_, 0) => white,
            _ => neutral,
        };
        let mut component = dst.component_mut(c);
        let (x, w) = (split >> comp.sub_w, subsampled(2, comp.sub_w));
        let mut line: CompMut<'_> = component.rect(x, 0, w, height);
        line.fill(value);
    }
}

/// Copies a whole frame into `dst` at (`x`, `y`), rounded down to the chroma grid. What
/// lies outside `dst` is left out.
///
/// # Panics
/// If the frames differ in format.
pub fn blit(dst: &mut FrameMut<'_>, src: &FrameRef<'_>, x: usize, y: usize) {
    assert_eq!(dst.format(), src.format(), "formats differ");
    let (grid_w, grid_h) = dst.format().grid();
    let (x, y) = (x - x % grid_w, y - y % grid_h);
    if x < dst.width() && y < dst.height() {
        let size = (
            src.width().min(dst.width() - x),
            src.height().min(dst.height() - y),
        );
        copy(dst, src, (x, y), size);
    }
}

/// Copies `w` x `h` pixels from the corner of `src` to (x, y), a point of the chroma grid.
fn copy(dst: &mut FrameMut<'_>, src: &FrameRef<'_>, at: (usize, usize), size: (usize, usize)) {
    let info = dst.format().info();
    for p in 0..info.planes {
        let Some(comp) = info.components.iter().find(|c| c.plane == p) else {
            continue;
        };
        let unit = comp.step * info.sample_bytes;
        let (x, y) = ((at.0 >> comp.sub_w) * unit, at.1 >> comp.sub_h);
        let bytes = subsampled(size.0, comp.sub_w) * unit;
        let from = src.plane(p);
        let PlaneMut { data, stride } = dst.plane_mut(p);
        for row in 0..subsampled(size.1, comp.sub_h) {
            let out = &mut data[(y + row) * stride + x..][..bytes];
            out.copy_from_slice(&from.data[row * from.stride..][..bytes]);
        }
    }
}

#[cfg(test)]
#[path = "post_tests.rs"]
mod tests;
