//! Noise and flicker over time, which metrics of single frames cannot see.
//!
//! Motion comes from the reference alone, by block matching to its previous frame. With
//! e = distorted - reference and m the motion vector of a block, both in luma:
//!
//! - temporal noise: RMS of e(t, p) - e(t-1, p + m). What the coding adds on top of the reference
//!   and does not keep along the motion: flicker, crawling, popping. An error that moves with the
//!   picture, such as blur, counts as nothing.
//! - warped error: RMS of x(t, p) - x(t-1, p + m), of the distorted and of the reference. The
//!   reference's own is not 0: noise, light, occlusion, sub-pixel motion.
//! - static deviation: RMS of d(t) - d(t-1) in blocks where the reference stands perfectly still.
//!
//! All are in units of an 8-bit sample (10-bit values are divided by 4). 0 is best.

use gstneural_pixels::CompRef;

use crate::{kernels, rows::Plane};

/// Size of a block.
pub const BLOCK: usize = 16;
/// The longest motion vector in each direction, in samples.
pub const REACH: i32 = 48;
/// Share of the picture that has to stand still for the static deviation to be given.
const STATIC_SHARE: f64 = 0.01;

/// The numbers of a frame that has a previous one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TemporalScores {
    /// RMS of what the error changes along the reference's motion.
    pub noise: f64,
    /// RMS of the change of the distorted where the reference stands still; None where too little
    /// of it does (1 %).
    pub static_noise: Option<f64>,
    /// RMS of the distorted against its previous frame along the reference's motion.
    pub warp_error: f64,
    /// The same of the reference.
    pub warp_error_ref: f64,
}

/// Measures a stream, frame by frame.
#[derive(Debug, Default)]
pub struct Temporal {
    /// The previous and the present frame of the reference and of the distorted.
    reference: [Plane; 2],
    distorted: [Plane; 2],
    motion: Vec<(i32, i32)>,
    frames: u64,
}

/// Sums over blocks.
#[derive(Debug, Default)]
struct Sums {
    noise: i64,
    warp: i64,
    warp_ref: i64,
    samples: i64,
    still: i64,
    still_samples: i64,
}

impl Temporal {
    /// One without a frame yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next pair of components, both of one size and depth; None for the first one and
    /// after a change of size.
    pub fn push(
        &mut self,
        reference: &CompRef<'_>,
        distorted: &CompRef<'_>,
    ) -> Option<TemporalScores> {
        self.reference.swap(0, 1);
        self.distorted.swap(0, 1);
        self.reference[1].copy_from(reference);
        self.distorted[1].copy_from(distorted);
        self.frames += 1;
        let [before, now] = &self.reference;
        let same =
            (before.width, before.height, before.bytes) == (now.width, now.height, now.bytes);
        if self.frames < 2 || !same {
            self.motion.clear();
            return None;
        }
        let unit = f64::from(1u32 << reference.depth().saturating_sub(8));
        let sums = self.blocks();
        let rms = |sum: i64, n: i64| (sum as f64 / n.max(1) as f64).sqrt() / unit;
        let share = sums.still_samples as f64 / sums.samples.max(1) as f64;
        Some(TemporalScores {
            noise: rms(sums.noise, sums.samples),
            static_noise: (share >= STATIC_SHARE).then(|| rms(sums.still, sums.still_samples)),
            warp_error: rms(sums.warp, sums.samples),
            warp_error_ref: rms(sums.warp_ref, sums.samples),
        })
    }

    fn blocks(&mut self) -> Sums {
        let [r0, r1] = &self.reference;
        let [d0, d1] = &self.distorted;
        let (across, down) = (r1.width.div_ceil(BLOCK), r1.height.div_ceil(BLOCK));
        self.motion.resize(across * down, (0, 0));
        let mut sums = Sums::default();
        for by in 0..down {
            for bx in 0..across {
                let at = by * across + bx;
                let block = Block {
                    x: bx * BLOCK,
                    y: by * BLOCK,
                    w: BLOCK.min(r1.width - bx * BLOCK),
                    h: BLOCK.min(r1.height - by * BLOCK),
                };
                let left = if bx > 0 { self.motion[at - 1] } else { (0, 0) };
                let above = if by > 0 {
                    self.motion[at - across]
                } else {
                    (0, 0)
                };
                let (motion, sad) = block.search(r0, r1, [left, above, self.motion[at]]);
                self.motion[at] = motion;
                block.add(&mut sums, [r0, r1], [d0, d1], motion);
                if motion == (0, 0) && sad == 0 {
                    block.add_still(&mut sums, d0, d1);
                }
            }
        }
        sums
    }
}

#[derive(Debug, Clone, Copy)]
struct Block {
    x: usize,
    y: usize,
    w: usize,
    h: usize,
}

impl Block {
    /// Whether the block moved by `m` lies in the plane and is within reach.
    fn fits(&self, plane: &Plane, m: (i32, i32)) -> bool {
        let inside = |from: usize, len: usize, by: i32, size: usize| {
            let from = from as i64 + i64::from(by);
            from >= 0 && from + len as i64 <= size as i64
        };
        m.0.abs() <= REACH
            && m.1.abs() <= REACH
            && inside(self.x, self.w, m.0, plane.width)
            && inside(self.y, self.h, m.1, plane.height)
    }

    fn moved(&self, m: (i32, i32)) -> (usize, usize) {
        (
            self.x.saturating_add_signed(m.0 as isize),
            self.y.saturating_add_signed(m.1 as isize),
        )
    }

    /// Sum of absolute differences at `m`, or something that is at least `best`.
    fn sad(&self, before: &Plane, now: &Plane, m: (i32, i32), best: u32) -> u32 {
        let kernels = kernels::current();
        let (x, y) = self.moved(m);
        let mut sum = 0;
        for i in 0..self.h {
            sum += kernels.sad(
                now.bytes,
                now.span(self.x, self.y + i, self.w),
                before.span(x, y + i, self.w),
            );
            if sum >= best {
                break;
            }
        }
        sum
    }

    /// The motion vector: the best of the predictions, then ever better neighbours of it by a
    /// shrinking cross. No motion wins a tie.
    fn search(
        &self,
        before: &Plane,
        now: &Plane,
        predictions: [(i32, i32); 3],
    ) -> ((i32, i32), u32) {
        let mut best = ((0, 0), self.sad(before, now, (0, 0), u32::MAX));
        let consider = |best: &mut ((i32, i32), u32), m: (i32, i32)| {
            if m == best.0 || !self.fits(before, m) {
                return false;
            }
            let sad = self.sad(before, now, m, best.1);
            let better = sad < best.1;
            if better {
                *best = (m, sad);
            }
            better
        };
        if best.1 == 0 {
            return best;
        }
        for m in predictions {
            consider(&mut best, m);
        }
        for step in [16, 8, 4, 2, 1] {
            loop {
                let (x, y) = best.0;
                let mut better = false;
                for (dx, dy) in [
                    (-1, 0),
                    (1, 0),
                    (0, -1),
                    (0, 1),
                    (-1, -1),
                    (1, 1),
                    (-1, 1),
                    (1, -1),
                ] {
                    better |= consider(&mut best, (x + dx * step, y + dy * step));
                }
                if !better {
                    break;
                }
            }
        }
        best
    }

    fn add(&self, sums: &mut Sums, r: [&Plane; 2], d: [&Plane; 2], m: (i32, i32)) {
        let (mx, my) = self.moved(m);
        for i in 0..self.h {
            for j in 0..self.w {
                let warp = |p: [&Plane; 2]| {
                    i64::from(p[1].get(self.x + j, self.y + i) - p[0].get(mx + j, my + i))
                };
                let (of_d, of_r) = (warp(d), warp(r));
                sums.warp += of_d * of_d;
                sums.warp_ref += of_r * of_r;
                sums.noise += (of_d - of_r) * (of_d - of_r);
            }
        }
        sums.samples += (self.w * self.h) as i64;
    }

    fn add_still(&self, sums: &mut Sums, before: &Plane, now: &Plane) {
        let kernels = kernels::current();
        for y in self.y..self.y + self.h {
            let (a, b) = (before.span(self.x, y, self.w), now.span(self.x, y, self.w));
            sums.still += kernels.sse(now.bytes, a, b) as i64;
        }
        sums.still_samples += (self.w * self.h) as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, scene};
    use gstneural_pixels::{FrameBuf, PixelFormat};

    fn noisy(frame: &FrameBuf, random: &mut Random, amplitude: i64) -> FrameBuf {
        let mut out = frame.clone();
        let mut view = out.as_mut();
        let mut comp = view.component_mut(0);
        for y in 0..comp.height() {
            for x in 0..comp.width() {
                let noise = (random.next() % (2 * amplitude as u64 + 1)) as i64 - amplitude;
                let value = i64::from(frame.as_ref().component(0).get(x, y)) + noise;
                comp.set(x, y, value.max(0) as u32);
            }
        }
        out
    }

    fn run(pairs: &[(FrameBuf, FrameBuf)]) -> TemporalScores {
        let mut t = Temporal::new();
        let mut last = None;
        for (r, d) in pairs {
            last = t.push(&r.as_ref().component(0), &d.as_ref().component(0));
        }
        last.unwrap()
    }

    const G: PixelFormat = PixelFormat::Gray8;

    #[test]
    fn motion_of_the_reference_is_found() {
        let frames: Vec<_> = (0..3)
            .map(|i| {
                let f = scene(G, 160, 96, 5 * i, -3 * i);
                (f.clone(), f)
            })
            .collect();
        let s = run(&frames);
        assert_eq!(s.noise, 0.0);
        assert_eq!(s.warp_error, s.warp_error_ref);
        let still = scene(G, 160, 96, 0, 0);
        let mut t = Temporal::new();
        let (r0, r1) = (still.as_ref(), frames[1].0.as_ref());
        t.push(&r0.component(0), &r0.component(0));
        t.push(&r1.component(0), &r1.component(0));
        let right = t.motion.iter().filter(|m| **m == (5, -3)).count();
        assert!(
            right * 10 >= t.motion.len() * 7,
            "{right} of {}",
            t.motion.len()
        );
    }

    #[test]
    fn an_error_that_keeps_to_the_picture_is_no_noise() {
        let frame = scene(G, 160, 96, 0, 0);
        let worse = noisy(&frame, &mut Random(1), 9);
        let s = run(&[(frame.clone(), worse.clone()), (frame, worse)]);
        assert_eq!((s.noise, s.static_noise), (0.0, Some(0.0)));
    }

    #[test]
    fn new_noise_in_each_frame_is_measured_in_its_own_units() {
        let mut random = Random(4);
        let frame = scene(G, 320, 192, 0, 0);
        let pairs: Vec<_> = (0..2)
            .map(|_| (frame.clone(), noisy(&frame, &mut random, 3)))
            .collect();
        let s = run(&pairs);
        // Uniform on -3..=3 has variance 4; the difference of two has 8.
        assert!((s.noise - 8f64.sqrt()).abs() < 0.1, "{s:?}");
        assert!((s.static_noise.unwrap() - 8f64.sqrt()).abs() < 0.1);
        assert_eq!(s.warp_error_ref, 0.0);

        let mut random = Random(4);
        let ten = scene(PixelFormat::I42010Le, 320, 192, 0, 0);
        let pairs: Vec<_> = (0..2)
            .map(|_| (ten.clone(), noisy(&ten, &mut random, 12)))
            .collect();
        // Variance (25^2 - 1) / 12, twice, over 4^2.
        let expected = (2.0 * 624.0 / 12.0f64).sqrt() / 4.0;
        assert!((run(&pairs).noise - expected).abs() < 0.1);
    }

    #[test]
    fn without_a_still_part_there_is_no_static_deviation() {
        let mut random = Random(8);
        let frames: Vec<_> = (0..2)
            .map(|_| {
                let f = random.frame(G, 64, 64);
                (f.clone(), f)
            })
            .collect();
        assert_eq!(run(&frames).static_noise, None);
    }
}
