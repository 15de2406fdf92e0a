//! The plain kernels. They are the specification of the SIMD ones: multiplications and
//! additions happen in exactly this order and are never fused.

use crate::color::Coefficients;
use crate::component::Layout;
use crate::kernels::{Quant, Ring, Shuffle};
use crate::taps::Taps;

#[inline(always)]
pub(crate) fn read(src: &[u8], at: usize, layout: Layout) -> u32 {
    let at = at * layout.step * layout.bytes;
    match layout.bytes {
        1 => u32::from(src[at]) & layout.max,
        _ => (u32::from(u16::from_le_bytes([src[at], src[at + 1]])) >> layout.shift) & layout.max,
    }
}

#[inline(always)]
pub(crate) fn write(dst: &mut [u8], at: usize, layout: Layout, value: u32) {
    let at = at * layout.step * layout.bytes;
    match layout.bytes {
        1 => dst[at] = value as u8,
        _ => dst[at..at + 2].copy_from_slice(&((value << layout.shift) as u16).to_le_bytes()),
    }
}

/// Rounds half up and clamps to 0..=max; NaN is 0. A value of 0.49999997 counts as a half:
/// the sum is rounded to `f32` before it is truncated.
#[inline(always)]
pub(crate) fn quantise(v: f32, q: Quant) -> u32 {
    let t = v * q.scale + q.bias + 0.5;
    let t = if t > 0.0 { t } else { 0.0 };
    let t = if t < q.max { t } else { q.max };
    t as u32
}

/// `dst[i] = sample i * scale + bias`.
pub(crate) fn load_row(src: &[u8], layout: Layout, scale: f32, bias: f32, dst: &mut [f32]) {
    match (layout.bytes, layout.step) {
        (1, 1) if layout.max == 255 => {
            for (d, s) in dst.iter_mut().zip(src) {
                *d = f32::from(*s) * scale + bias;
            }
        }
        _ => {
            for (i, d) in dst.iter_mut().enumerate() {
                *d = read(src, i, layout) as f32 * scale + bias;
            }
        }
    }
}

/// Quantises `src` into the samples of `dst`.
pub(crate) fn store_row(src: &[f32], q: Quant, layout: Layout, dst: &mut [u8]) {
    for (i, v) in src.iter().enumerate() {
        write(dst, i, layout, quantise(*v, q));
    }
}

/// Depth-to-space of one row, quantised.
pub(crate) fn shuffle_row(src: &[f32], s: Shuffle, q: Quant, layout: Layout, dst: &mut [u8]) {
    let (mut dx, mut i) = (s.first, 0);
    for at in 0..s.n {
        write(dst, at, layout, quantise(src[dx * s.plane_stride + i], q));
        dx += 1;
        if dx == s.r {
            (dx, i) = (0, i + 1);
        }
    }
}

/// Depth-to-space of one row.
pub(crate) fn shuffle_row_f32(src: &[f32], s: Shuffle, dst: &mut [f32]) {
    let (mut dx, mut i) = (s.first, 0);
    for d in &mut dst[..s.n] {
        *d = src[dx * s.plane_stride + i];
        dx += 1;
        if dx == s.r {
            (dx, i) = (0, i + 1);
        }
    }
}

/// `dst[i]` = sum over the taps, in ascending order, of weight times source.
pub(crate) fn hfilter(src: &[f32], taps: &Taps, dst: &mut [f32]) {
    let n = taps.taps();
    for (i, d) in dst.iter_mut().enumerate() {
        let start = taps.start(i);
        let samples = &src[start..start + n];
        let weights = taps.weights(i);
        let mut acc = samples[0] * weights[0];
        for t in 1..n {
            acc += samples[t] * weights[t];
        }
        *d = acc;
    }
}

/// `dst[i]` = sum over the rows from `start` on, in ascending order, of weight times row.
pub(crate) fn vfilter(ring: Ring<'_>, start: usize, weights: &[f32], dst: &mut [f32]) {
    for (t, weight) in weights.iter().enumerate() {
        let row = &ring.data[((start + t) % ring.rows) * ring.stride..][..dst.len()];
        if t == 0 {
            for (d, s) in dst.iter_mut().zip(row) {
                *d = s * weight;
            }
        } else {
            for (d, s) in dst.iter_mut().zip(row) {
                *d += s * weight;
            }
        }
    }
}

/// `dst = classical + weight * (dst - classical)`, rounded half up, on consecutive samples.
/// Samples whose index modulo 4 is set in `keep` stay as they are.
pub(crate) fn mix_row(dst: &mut [u8], classical: &[u8], weight: f32, layout: Layout, keep: u8) {
    let layout = Layout { step: 1, ..layout };
    let q = Quant::new(1.0, 0.0, layout.max);
    for i in 0..dst.len() / layout.bytes {
        if keep >> (i % 4) & 1 == 0 {
            let (d, c) = (
                read(dst, i, layout) as f32,
                read(classical, i, layout) as f32,
            );
            write(dst, i, layout, quantise(c + weight * (d - c), q));
        }
    }
}

/// YUV to RGB in place.
#[inline(always)]
pub(crate) fn to_rgb(k: &Coefficients, y: &mut [f32], u: &mut [f32], v: &mut [f32]) {
    for ((y, u), v) in y.iter_mut().zip(u).zip(v) {
        let luma = *y * k.y_gain + k.y_bias;
        let (cb, cr) = (*u - k.neutral, *v - k.neutral);
        *y = luma + cr * k.r_v;
        *u = luma + (cb * k.g_u + cr * k.g_v);
        *v = luma + cb * k.b_u;
    }
}

/// RGB to YUV in place.
#[inline(always)]
pub(crate) fn to_yuv(k: &Coefficients, r: &mut [f32], g: &mut [f32], b: &mut [f32]) {
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        let luma = *r * k.kr + *g * k.kg + *b * k.kb;
        let (cb, cr) = ((*b - luma) * k.u_scale, (*r - luma) * k.v_scale);
        *r = luma * k.y_scale + k.y_black;
        *g = cb + k.neutral;
        *b = cr + k.neutral;
    }
}

/// Luma code of RGB.
#[inline(always)]
pub(crate) fn luma(k: &Coefficients, r: &[f32], g: &[f32], b: &[f32], y: &mut [f32]) {
    for (((y, r), g), b) in y.iter_mut().zip(r).zip(g).zip(b) {
        *y = (*r * k.kr + *g * k.kg + *b * k.kb) * k.y_scale + k.y_black;
    }
}

/// Averages the residual `out - classical` with the one kept in `state` (in units of
/// 1 / `unit`), with weight `alpha` on the old one; updates both.
#[inline(always)]
pub(crate) fn smooth_row(
    out: &mut [f32],
    classical: &[f32],
    state: &mut [i16],
    alpha: &[f32],
    unit: f32,
) {
    let inverse = 1.0 / unit;
    for (((o, c), s), a) in out.iter_mut().zip(classical).zip(state).zip(alpha) {
        let residual = *o - *c;
        let old = f32::from(*s) * inverse;
        let new = residual + *a * (old - residual);
        let scaled = new * unit;
        let scaled = if scaled > -32768.0 { scaled } else { -32768.0 };
        let scaled = if scaled < 32767.0 { scaled } else { 32767.0 };
        *s = ((scaled + 32768.5) as i32 - 32768) as i16;
        *o = *c + new;
    }
}
