//! Components as rows of consecutive samples, whatever the packing.

use gstneural_pixels::CompRef;

/// Row `y` of a component as consecutive samples without a shift: the row itself, or a copy of it
/// in `scratch`.
pub(crate) fn row<'a>(comp: &CompRef<'a>, y: usize, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let raw = comp.row(y);
    if comp.step() == 1 && comp.shift() == 0 {
        return raw;
    }
    scratch.clear();
    let unit = comp.step() * comp.sample_bytes();
    if comp.sample_bytes() == 1 {
        scratch.extend(raw.iter().step_by(unit));
    } else {
        scratch.extend(raw.chunks(unit).flat_map(|c| {
            let value = u16::from_le_bytes([c[0], c[1]]) >> comp.shift();
            value.to_le_bytes()
        }));
    }
    scratch
}

/// A plane of samples with memory of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plane {
    pub data: Vec<u8>,
    pub width: usize,
    pub height: usize,
    pub bytes: usize,
}

impl Plane {
    /// Takes a copy of a component.
    pub fn copy_from(&mut self, comp: &CompRef<'_>) {
        self.width = comp.width();
        self.height = comp.height();
        self.bytes = comp.sample_bytes();
        self.data.clear();
        let mut scratch = Vec::new();
        for y in 0..comp.height() {
            self.data.extend_from_slice(row(comp, y, &mut scratch));
        }
    }

    /// `n` samples from (`x`, `y`) on.
    pub fn span(&self, x: usize, y: usize, n: usize) -> &[u8] {
        let from = (y * self.width + x) * self.bytes;
        &self.data[from..from + n * self.bytes]
    }

    /// The value at (`x`, `y`).
    pub fn get(&self, x: usize, y: usize) -> i32 {
        let at = (y * self.width + x) * self.bytes;
        match self.bytes {
            1 => i32::from(self.data[at]),
            _ => i32::from(u16::from_le_bytes([self.data[at], self.data[at + 1]])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use gstneural_pixels::PixelFormat;

    #[test]
    fn rows_equal_the_values_in_every_format() {
        for &format in PixelFormat::ALL {
            let frame = Random(3).frame(format, 13, 7);
            for c in 0..format.info().components.len() {
                let (view, mut scratch, mut plane) = (frame.as_ref(), Vec::new(), Plane::default());
                let comp = view.component(c);
                plane.copy_from(&comp);
                for y in 0..comp.height() {
                    let row = row(&comp, y, &mut scratch).to_vec();
                    for x in 0..comp.width() {
                        let value = match comp.sample_bytes() {
                            1 => u32::from(row[x]),
                            _ => u32::from(u16::from_le_bytes([row[2 * x], row[2 * x + 1]])),
                        };
                        assert_eq!(value, comp.get(x, y), "{format:?} {c}");
                        assert_eq!(plane.get(x, y) as u32, value);
                    }
                }
            }
        }
    }
}
