//! Functions of single values, written once and compiled a second time for AVX2.

use super::LIMIT;

/// The greatest index of a scale.
const MAX_INDEX: i32 = 47;
/// The greatest magnitude of a mean in eighths of a step.
const MAX_MEAN8: i32 = 16383;

/// `to = clip(a + b)`.
#[inline(always)]
pub(super) fn add(to: &mut [i16], a: &[i16], b: &[i16]) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to = a.saturating_add(b).clamp(-LIMIT, LIMIT);
    }
}

/// `to = clip(a - b)`.
#[inline(always)]
pub(super) fn difference(to: &mut [i16], a: &[i16], b: &[i16]) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to = a.saturating_sub(b).clamp(-LIMIT, LIMIT);
    }
}

/// Latents of whole positions from their quantised values: `clip((q * step + 8) >> 4)`; `step`, of
/// each channel, in 1/16, below 2^16.
#[inline(always)]
pub(super) fn dequantise(to: &mut [i16], q: &[i16], step: &[i32]) {
    let limit = i32::from(LIMIT);
    let positions = to
        .chunks_exact_mut(step.len())
        .zip(q.chunks_exact(step.len()));
    for (to, q) in positions {
        for ((to, &q), &step) in to.iter_mut().zip(q).zip(step) {
            *to = ((i32::from(q) * step + 8) >> 4).clamp(-limit, limit) as i16;
        }
    }
}

/// Indices of scales: `clip((scale + shift + 8) >> 4, 0, 47)`; `shift` of each channel.
#[inline(always)]
pub(super) fn indices(to: &mut [u8], scale: &[i16], shift: &[i16]) {
    let n = shift.len();
    for (to, scale) in to.chunks_exact_mut(n).zip(scale.chunks_exact(n)) {
        for ((to, &scale), &shift) in to.iter_mut().zip(scale).zip(shift) {
            let index = (i32::from(scale) + i32::from(shift) + 8) >> 4;
            *to = index.clamp(0, MAX_INDEX) as u8;
        }
    }
}

/// Means in eighths of a step: `clip((mean * inverse + 2^11) >> 12)`; `inverse`, of each channel,
/// at most 2^19.
#[inline(always)]
pub(super) fn means(to: &mut [i16], mean: &[i16], inverse: &[i32]) {
    let n = inverse.len();
    for (to, mean) in to.chunks_exact_mut(n).zip(mean.chunks_exact(n)) {
        for ((to, &mean), &inverse) in to.iter_mut().zip(mean).zip(inverse) {
            let v = (i32::from(mean) * inverse + (1 << 11)) >> 12;
            *to = v.clamp(-MAX_MEAN8, MAX_MEAN8) as i16;
        }
    }
}

/// Samples of 8 bits, in place of the last layer's output: `clip((prediction + direct + out + 1028)
/// >> 3, 0, 255)`. No prediction (an empty slice) counts as zeros.
#[inline(always)]
pub(super) fn samples(out: &mut [i16], direct: &[i16], prediction: &[i16]) {
    // Three values of up to 2047 and 1028 fit 16 bits; saturation only spares a check of overflow.
    let sample = |v: i16| (v.saturating_add(1024 + 4) >> 3).clamp(0, 255);
    if prediction.is_empty() {
        for (out, &r) in out.iter_mut().zip(direct) {
            *out = sample(out.saturating_add(r));
        }
    } else {
        for ((out, &r), &p) in out.iter_mut().zip(direct).zip(prediction) {
            *out = sample(out.saturating_add(r).saturating_add(p));
        }
    }
}
