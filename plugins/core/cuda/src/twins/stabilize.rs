//! Twins of `kernels/stabilize.cu`.

use gstneural_pixels::{
    FrameMut, FrameRef,
    stabilize::{BOX, SCENE_CUT, motion_weights, residual_unit, smoothed},
};

use super::{inside, put, quantise, share};

/// Twin of `motion` and `smooth`: [`DeviceStabilizer`](crate::DeviceStabilizer).
#[derive(Debug, Clone, Default)]
pub struct StabilizerTwin {
    primed: bool,
    previous: Vec<u8>,
    state: Vec<i16>,
}

impl StabilizerTwin {
    /// Forgets the past.
    pub fn reset(&mut self) {
        self.primed = false;
    }

    /// Stabilizes `out`; the first call makes the memory for its frames.
    pub fn run(
        &mut self,
        input: &FrameRef<'_>,
        classical: &FrameRef<'_>,
        out: &mut FrameMut<'_>,
        amount: f32,
    ) {
        let info = input.format().info();
        let (iw, ih) = (input.width(), input.height());
        let (ow, oh) = (out.width(), out.height());
        let components = smoothed(input.format());
        self.previous.resize(iw * ih, 0);
        self.state.resize(ow * oh * components, 0);
        let mut difference = vec![0u8; iw * ih];
        let mut total = 0u64;
        for y in 0..ih {
            for x in 0..iw {
                let now = luma(input, x, y);
                let at = y * iw + x;
                difference[at] = self.previous[at].abs_diff(now);
                self.previous[at] = now;
                total += u64::from(difference[at]);
            }
        }
        let still = self.primed && total / (iw * ih) as u64 <= SCENE_CUT && amount > 0.0;
        self.primed = true;
        let (weights, unit) = (motion_weights(), residual_unit(info.depth));
        let reach = (BOX / 2) as isize;
        for c in 0..components {
            let mut comp = out.component_mut(c);
            let reference = classical.component(c);
            for y in 0..oh {
                for x in 0..ow {
                    let mut alpha = 0.0;
                    if still {
                        let (from_x, from_y) = ((x * iw / ow) as isize, (y * ih / oh) as isize);
                        let mut sum = 0;
                        for j in -reach..=reach {
                            for i in -reach..=reach {
                                let row = inside(from_y + j, ih);
                                sum += usize::from(difference[row * iw + inside(from_x + i, iw)]);
                            }
                        }
                        alpha = amount.min(1.0) * weights[sum];
                    }
                    let state = &mut self.state[(c * oh + y) * ow + x];
                    let base = share(&reference, x, y, 1.0);
                    let residual = share(&comp.as_ref(), x, y, 1.0) - base;
                    let old = f32::from(*state) * (1.0 / unit);
                    let now = residual + alpha * (old - residual);
                    let scaled = (now * unit).clamp(-32768.0, 32767.0);
                    *state = ((scaled + 32768.5) as i32 - 32768) as i16;
                    put(&mut comp, x, y, base + now, 1.0, 0.0);
                }
            }
        }
    }
}

/// 8-bit luma; for RGB (R + 2 G + B) / 4.
fn luma(frame: &FrameRef<'_>, x: usize, y: usize) -> u8 {
    let greatest = ((1u32 << frame.format().info().depth) - 1) as f32;
    let part = |c: usize, weight: f32| share(&frame.component(c), x, y, weight * 255.0 / greatest);
    let v = match smoothed(frame.format()) {
        1 => part(0, 1.0),
        _ => part(0, 0.25) + part(1, 0.5) + part(2, 0.25),
    };
    quantise(v, 1.0, 0.0, 255) as u8
}
