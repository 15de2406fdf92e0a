//! Random frames for the tests.

use crate::{Color, FrameBuf, PixelFormat};

/// Sizes that every operation must bear.
pub const SIZES: [(usize, usize); 4] = [(1, 1), (3, 5), (34, 18), (853, 481)];

/// A xorshift generator: the same numbers in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) as usize) % n
    }

    /// From -0.5 to 1.5, now and then something strange.
    pub fn float(&mut self) -> f32 {
        const STRANGE: [f32; 6] = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e30,
            -1e30,
            -0.0,
        ];
        match self.below(50) {
            0 => STRANGE[self.below(STRANGE.len())],
            _ => (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 0.5,
        }
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    pub fn frame(&mut self, format: PixelFormat, w: usize, h: usize) -> FrameBuf {
        let mut frame = FrameBuf::new(format, w, h, Color::default()).unwrap();
        let mut view = frame.as_mut();
        for c in 0..format.info().components.len() {
            let mut comp = view.component_mut(c);
            for y in 0..comp.height() {
                for x in 0..comp.width() {
                    let value = self.next() >> 40;
                    let max = u64::from(comp.max_value());
                    comp.set(x, y, (value & max) as u32);
                }
            }
        }
        frame
    }
}
