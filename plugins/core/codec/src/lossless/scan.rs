//! The walk over the samples of a plane of a slice that encoder and decoder share.

use super::{
    model::{COPY, LEVELS, Model, OFFSETS},
    sheet::{LEFT, Sheet},
    taps::{MAX_TAPS, ONE, Sources, Taps, WEIGHT_BITS},
};

/// What does not change within a plane of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    /// Samples and rows of the plane in this slice.
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Size of a block of the plane: 16, or 8 where it is subsampled.
    pub(crate) block: (usize, usize),
    /// The greatest value of a sample.
    pub(crate) max: i32,
    /// Quantisation step of residuals: 2 d + 1.
    pub(crate) step: i32,
    /// Value of samples that nothing is known about.
    pub(crate) grey: i16,
}

impl Geometry {
    pub(crate) fn columns(&self) -> usize {
        self.width.div_ceil(self.block.0)
    }

    pub(crate) fn rows(&self) -> usize {
        self.height.div_ceil(self.block.1)
    }
}

/// Gives (and takes note of) the quantised residual of a sample.
pub(crate) trait Residuals {
    /// The residual at (`x`, `y`) of a sample predicted as `prediction`, coded in `slot` (level
    /// times [`OFFSETS`] plus offset), its sign changed if `mirrored`.
    fn next(&mut self, x: usize, y: usize, slot: usize, mirrored: bool, prediction: i32) -> i32;
}

/// Level of an activity: exact below 8, then 4 to an octave.
const fn level(activity: usize) -> u8 {
    if activity < 8 {
        return activity as u8;
    }
    let bit = activity.ilog2() as usize;
    let level = 8 + 4 * (bit - 3) + (activity >> (bit - 2) & 3);
    if level < LEVELS {
        level as u8
    } else {
        LEVELS as u8 - 1
    }
}

const TOP_ACTIVITY: usize = 8191;
/// [`level`] of each activity.
static LEVEL: [u8; TOP_ACTIVITY + 1] = {
    let mut out = [0; TOP_ACTIVITY + 1];
    let mut i = 0;
    while i <= TOP_ACTIVITY {
        out[i] = level(i);
        i += 1;
    }
    out
};

/// Codes the samples of a plane: `current` gets them, `errors` the quantised residuals.
///
/// On x86-64 with AVX2 this is the same source compiled for it.
pub(crate) fn scan<R: Residuals>(
    g: &Geometry,
    taps: &Taps,
    model: &Model,
    sources: Sources<'_>,
    current: &mut Sheet,
    errors: &mut Sheet,
    residuals: &mut R,
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide<R: Residuals>(
            g: &Geometry,
            taps: &Taps,
            model: &Model,
            sources: Sources<'_>,
            current: &mut Sheet,
            errors: &mut Sheet,
            residuals: &mut R,
        ) {
            scan_any(g, taps, model, sources, current, errors, residuals);
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 was detected.
            unsafe { wide(g, taps, model, sources, current, errors, residuals) };
            return;
        }
    }
    scan_any(g, taps, model, sources, current, errors, residuals);
}

/// The plain form of [`scan`].
#[inline(always)]
pub(crate) fn scan_any<R: Residuals>(
    g: &Geometry,
    taps: &Taps,
    model: &Model,
    sources: Sources<'_>,
    current: &mut Sheet,
    errors: &mut Sheet,
    residuals: &mut R,
) {
    let weights = model.all_weights(taps);
    let intra = sources.references.is_empty();
    let left_only = {
        let mut w = [0i16; MAX_TAPS];
        w[0] = ONE as i16;
        w
    };
    // Rows above the slice: what the reference has there, or grey.
    match sources.references.first() {
        Some(reference) => {
            for y in [-2, -1] {
                current.row_mut(y).copy_from_slice(reference.row(y));
            }
        }
        None => {
            for y in [-2, -1] {
                current.row_mut(y).fill(g.grey);
            }
        }
    }
    let padded = g.columns() * g.block.0;
    let mut parts = vec![0i32; padded];
    let mut around = vec![0i32; padded];
    for y in 0..g.height {
        let by = y / g.block.1;
        let above_first = current.row(y as isize - 1)[LEFT];
        current.row_mut(y as isize)[..LEFT].fill(above_first);
        if !(intra && y == 0) {
            let mut rows: [&[i16]; MAX_TAPS] = [&[]; MAX_TAPS];
            for (row, tap) in rows.iter_mut().zip(&taps.list) {
                *row = sources.row(current, tap, y);
            }
            let rows = &rows[2..taps.list.len()];
            for (bx, out) in parts.chunks_exact_mut(g.block.0).enumerate() {
                let class = usize::from(model.class(bx, by));
                if let Some(w) = weights.get(class) {
                    let w = &w[2..2 + rows.len()];
                    match out.len() {
                        16 => weigh::<16>(rows, w, bx * 16, out),
                        _ => weigh::<8>(rows, w, bx * 8, out),
                    }
                }
            }
        }
        activity(errors, sources.asides, y, &mut around);
        let (_, row) = current.split(y as isize);
        let error_row = errors.row_mut(y as isize);
        // Errors to the left of the sample.
        let (mut e1, mut e2) = (0i32, 0i32);
        for bx in 0..g.columns() {
            let class = model.class(bx, by);
            let x0 = bx * g.block.0;
            let x1 = (x0 + g.block.0).min(g.width);
            if class == COPY {
                if let Some(reference) = sources.references.first() {
                    let from = &reference.row(y as isize)[LEFT + x0..LEFT + x1];
                    row[LEFT + x0..LEFT + x1].copy_from_slice(from);
                }
                error_row[LEFT + x0..LEFT + x1].fill(0);
                (e1, e2) = (0, 0);
                continue;
            }
            let first = intra && y == 0;
            let w = if first {
                &left_only
            } else {
                weights.get(usize::from(class)).unwrap_or(&left_only)
            };
            let (w1, w2) = (i32::from(w[0]), i32::from(w[1]));
            let (mut p1, mut p2) = (i32::from(row[LEFT + x0 - 1]), i32::from(row[LEFT + x0 - 2]));
            let samples = &mut row[LEFT + x0..LEFT + x1];
            let errors = &mut error_row[LEFT + x0..LEFT + x1];
            let n = samples.len();
            let (parts, around) = (&parts[x0..x0 + n], &around[x0..x0 + n]);
            for i in 0..n {
                let part = if first { ONE / 2 } else { parts[i] };
                let sum = part + w1 * p1 + w2 * p2;
                let prediction = (sum >> WEIGHT_BITS).clamp(0, g.max);
                let a = (around[i] + 4 * e1 + 2 * e2).clamp(0, TOP_ACTIVITY as i32);
                let level = usize::from(LEVEL[a as usize]);
                // What rounding took away, in 1/256: the sample is rather on that side.
                let fraction = (sum & (ONE - 1)) - ONE / 2;
                let offset = (fraction.unsigned_abs() as usize >> 5).min(OFFSETS - 1);
                let slot = level * OFFSETS + offset;
                let q = residuals.next(x0 + i, y, slot, fraction < 0, prediction);
                let sample = q
                    .wrapping_mul(g.step)
                    .wrapping_add(prediction)
                    .clamp(0, g.max);
                samples[i] = sample as i16;
                let q = q.clamp(-1023, 1023);
                errors[i] = q as i16;
                (p2, p1) = (p1, sample);
                (e2, e1) = (e1, q.abs());
            }
        }
        current.close_right(y as isize);
        if intra && y == 0 {
            current.copy_row(0, -1);
            current.copy_row(0, -2);
        }
    }
}

/// Weighted sums of `N` samples from `x` on: all taps but those to the left.
#[inline(always)]
fn weigh<const N: usize>(rows: &[&[i16]], weights: &[i16], x: usize, out: &mut [i32]) {
    let mut sums = [ONE / 2; N];
    for (row, &w) in rows.iter().zip(weights) {
        let row = &row[x..x + N];
        for (s, &v) in sums.iter_mut().zip(row) {
            *s += i32::from(w) * i32::from(v);
        }
    }
    out.copy_from_slice(&sums);
}

/// The part of the activity of row `y` that does not depend on the row itself.
#[inline(always)]
fn activity(errors: &Sheet, asides: &[Sheet], y: usize, out: &mut [i32]) {
    let n = out.len();
    let (above, above2) = (errors.row(y as isize - 1), errors.row(y as isize - 2));
    let at = |r: &[i16], dx: usize, x: usize| i32::from(r[LEFT + x + dx - 2].unsigned_abs());
    let (above, above2) = (&above[..LEFT + n + 2], &above2[..LEFT + n + 2]);
    for (x, out) in out.iter_mut().enumerate() {
        *out = 4 * at(above, 2, x) + 2 * at(above, 1, x) + 2 * at(above, 3, x) + at(above2, 2, x);
    }
    match asides {
        [] => {}
        [luma] => {
            let luma = &luma.row(y as isize)[LEFT..LEFT + n];
            for (out, l) in out.iter_mut().zip(luma) {
                *out += i32::from(l.unsigned_abs());
            }
        }
        [luma, u, ..] => {
            let luma = &luma.row(y as isize)[LEFT..LEFT + n];
            let u = &u.row(y as isize)[LEFT..LEFT + n];
            for ((out, l), u) in out.iter_mut().zip(luma).zip(u) {
                *out += i32::from(l.unsigned_abs() / 2) + 3 * i32::from(u.unsigned_abs());
            }
        }
    }
}
