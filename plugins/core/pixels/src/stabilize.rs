//! Less flicker: a motion-adaptive exponential average of what the net adds.

use crate::error::zeros;
use crate::format::Family;
use crate::kernels::{self, Kernels, Quant};
use crate::{CompRef, FrameMut, FrameRef, MAX_DIMENSION, PixelError, PixelFormat};

/// A mean luma difference (of 255) above this is a scene cut.
pub const SCENE_CUT: u64 = 30;
/// The difference (of 255) at which the average's weight has fallen to 1/e.
const MOTION: f64 = 6.0;
/// Side of the box over which differences are averaged.
pub const BOX: usize = 5;

/// Averages the residual, the difference between the net's output and the classical
/// upscale, over time where the input stands still.
///
/// With d the 8-bit luma difference between the input and the previous one, averaged over
/// 5 x 5 pixels, the weight of the past is `amount * exp(-(d / 6)^2)`. On the first frame,
/// after [`Stabilizer::reset`] and on a scene cut (mean difference over 30) it is 0 and the
/// output stays as it is. YUV formats: luma only. RGB formats: R, G and B.
#[derive(Debug, Clone)]
pub struct Stabilizer {
    format: PixelFormat,
    input: (usize, usize),
    output: (usize, usize),
    primed: bool,
    /// 8-bit luma of the previous input.
    previous: Vec<u8>,
    difference: Vec<u8>,
    /// Averaged residual of each component, in 1 / `unit`.
    state: Vec<i16>,
    unit: f32,
    /// exp(-(d / 6)^2) by the sum of differences over the box.
    weights: Vec<f32>,
    sums: Vec<u16>,
    boxed: Vec<u16>,
    alpha: Vec<f32>,
    /// The input column of each output column.
    columns: Vec<u32>,
    lines: [Vec<f32>; 3],
    luma: Vec<u8>,
}

impl Stabilizer {
    /// A stabilizer for frames of `format`, `in_w` x `in_h` before and `out_w` x `out_h`
    /// pixels after upscaling.
    ///
    /// # Errors
    /// If a size is 0 or too large, or there is not enough memory.
    pub fn new(
        format: PixelFormat,
        in_w: usize,
        in_h: usize,
        out_w: usize,
        out_h: usize,
    ) -> Result<Self, PixelError> {
        for (width, height) in [(in_w, in_h), (out_w, out_h)] {
            let fits = 1..=MAX_DIMENSION;
            if !fits.contains(&width) || !fits.contains(&height) {
                return Err(PixelError::Size { width, height });
            }
        }
        let info = format.info();
        let line = vec![0.0; in_w.max(out_w)];
        Ok(Self {
            format,
            input: (in_w, in_h),
            output: (out_w, out_h),
            primed: false,
            previous: zeros(in_w * in_h)?,
            difference: zeros(in_w * in_h)?,
            state: zeros(out_w * out_h * smoothed(format))?,
            unit: residual_unit(info.depth),
            weights: motion_weights(),
            sums: vec![0; in_w + BOX - 1],
            boxed: vec![0; in_w],
            alpha: vec![0.0; out_w],
            columns: (0..out_w).map(|x| (x * in_w / out_w) as u32).collect(),
            lines: [line.clone(), line.clone(), line],
            luma: vec![0; in_w],
        })
    }

    /// Forgets the past: after a seek or a gap.
    pub fn reset(&mut self) {
        self.primed = false;
    }

    /// Stabilizes `out`, the upscale of `input` by the net, with `classical`, its upscale by
    /// a filter. `amount` from 0 (nothing) to 1.
    ///
    /// # Panics
    /// If a frame has another format or size than the stabilizer was made for.
    pub fn run(
        &mut self,
        input: &FrameRef<'_>,
        classical: &FrameRef<'_>,
        out: &mut FrameMut<'_>,
        amount: f32,
    ) {
        let formats = [input.format(), classical.format(), out.format()];
        assert_eq!(formats, [self.format; 3], "format");
        assert_eq!((input.width(), input.height()), self.input, "input size");
        assert_eq!(
            (classical.width(), classical.height()),
            self.output,
            "classical size"
        );
        assert_eq!((out.width(), out.height()), self.output, "output size");
        let k = kernels::current();
        let mean = self.measure(k, input);
        let amount = if amount > 0.0 { amount.min(1.0) } else { 0.0 };
        let amount = if self.primed && mean <= SCENE_CUT {
            amount
        } else {
            0.0
        };
        self.primed = true;
        let (width, height) = self.output;
        let mut known = None;
        for y in 0..height {
            let row = y * self.input.1 / height;
            if known != Some(row) {
                self.weigh(row, amount);
                known = Some(row);
            }
            for c in 0..smoothed(self.format) {
                let [o, r, _] = &mut self.lines;
                let (o, r) = (&mut o[..width], &mut r[..width]);
                let reference = classical.component(c);
                (k.load_row)(reference.row(y), reference.layout(), 1.0, 0.0, r);
                let mut comp = out.component_mut(c);
                let layout = comp.layout();
                (k.load_row)(comp.row_mut(y), layout, 1.0, 0.0, o);
                let state = &mut self.state[(c * height + y) * width..][..width];
                (k.smooth_row)(o, r, state, &self.alpha, self.unit);
                (k.store_row)(o, Quant::new(1.0, 0.0, layout.max), layout, comp.row_mut(y));
            }
        }
    }

    /// Updates the luma and its difference; the mean difference.
    fn measure(&mut self, k: &Kernels, input: &FrameRef<'_>) -> u64 {
        let (width, height) = self.input;
        let mut total = 0u64;
        for y in 0..height {
            let previous = &mut self.previous[y * width..][..width];
            let difference = &mut self.difference[y * width..][..width];
            luma_row(k, input, y, &mut self.lines, &mut self.luma);
            let mut sum = 0u32;
            for ((d, p), l) in difference.iter_mut().zip(previous).zip(&self.luma) {
                *d = p.abs_diff(*l);
                *p = *l;
                sum += u32::from(*d);
            }
            total += u64::from(sum);
        }
        total / (width * height) as u64
    }

    /// The weight of the past for each output column, from row `y` of the differences.
    fn weigh(&mut self, y: usize, amount: f32) {
        if amount == 0.0 {
            self.alpha.fill(0.0);
            return;
        }
        let (width, height) = self.input;
        const REACH: usize = BOX / 2;
        let sums = &mut self.sums[REACH..][..width];
        sums.fill(0);
        for dy in 0..BOX {
            let row = (y + dy).saturating_sub(REACH).min(height - 1);
            for (s, d) in sums.iter_mut().zip(&self.difference[row * width..]) {
                *s += u16::from(*d);
            }
        }
        let (first, last) = (sums[0], sums[width - 1]);
        self.sums[..REACH].fill(first);
        self.sums[REACH + width..].fill(last);
        let boxed = &mut self.boxed[..width];
        boxed.fill(0);
        for dx in 0..BOX {
            for (b, s) in boxed.iter_mut().zip(&self.sums[dx..]) {
                *b += s;
            }
        }
        let weight = |sum: &u16| amount * self.weights[usize::from(*sum)];
        match self.output.0 == 2 * width {
            true => {
                for (pair, sum) in self.alpha.as_chunks_mut::<2>().0.iter_mut().zip(boxed) {
                    *pair = [weight(sum); 2];
                }
            }
            false => {
                for (a, x) in self.alpha.iter_mut().zip(&self.columns) {
                    *a = weight(&boxed[*x as usize]);
                }
            }
        }
    }
}

/// The weight of the past, exp(-(d / 6)^2), by the sum of the differences over the box.
pub fn motion_weights() -> Vec<f32> {
    let mean = |sum: usize| sum as f64 / (BOX * BOX) as f64;
    (0..=255 * BOX * BOX)
        .map(|sum| (-(mean(sum) / MOTION).powi(2)).exp() as f32)
        .collect()
}

/// What a residual of one code value of `depth` bits is in the `i16` that keep it.
pub fn residual_unit(depth: u8) -> f32 {
    // It spans depth + 1 bits; the rest of i16 is fraction.
    2.0f32.powi(14 - i32::from(depth))
}

/// Components whose residual is averaged: luma, or R, G and B.
pub fn smoothed(format: PixelFormat) -> usize {
    match format.info().family {
        Family::Rgb => 3,
        Family::Yuv | Family::Gray => 1,
    }
}

/// 8-bit luma of row `y`; for RGB (R + 2 G + B) / 4, near enough to see motion.
fn luma_row(k: &Kernels, frame: &FrameRef<'_>, y: usize, lines: &mut [Vec<f32>; 3], to: &mut [u8]) {
    let n = to.len();
    let load = |c: usize, weight: f32, line: &mut [f32]| {
        let comp: CompRef<'_> = frame.component(c);
        let scale = weight * 255.0 / comp.max_value() as f32;
        (k.load_row)(comp.row(y), comp.layout(), scale, 0.0, line);
    };
    let [a, b, c] = lines;
    if smoothed(frame.format()) == 1 {
        load(0, 1.0, &mut a[..n]);
    } else {
        load(0, 0.25, &mut a[..n]);
        load(1, 0.5, &mut b[..n]);
        load(2, 0.25, &mut c[..n]);
        for ((a, b), c) in a[..n].iter_mut().zip(&*b).zip(&*c) {
            *a = *a + *b + *c;
        }
    }
    let layout = crate::component::Layout {
        bytes: 1,
        step: 1,
        shift: 0,
        max: 255,
    };
    (k.store_row)(&a[..n], Quant::new(1.0, 0.0, 255), layout, to);
}

#[cfg(test)]
#[path = "stabilize_tests.rs"]
mod tests;
