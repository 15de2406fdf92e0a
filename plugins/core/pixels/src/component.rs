//! One component of a frame as a 2-D array of samples, whatever the packing.

use crate::PixelError;

/// How samples of a component follow each other in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// 1 or 2.
    pub bytes: usize,
    /// Samples from one value to the next.
    pub step: usize,
    /// Bits a value is shifted up by.
    pub shift: u32,
    /// 2^depth - 1.
    pub max: u32,
}

impl Layout {
    /// Bytes from the first to past the last of `n` values.
    pub fn span(&self, n: usize) -> usize {
        if n == 0 {
            0
        } else {
            ((n - 1) * self.step + 1) * self.bytes
        }
    }
}

fn check_layout(depth: u8, shift: u8, sample_bytes: usize, step: usize) -> Result<(), PixelError> {
    let bits = u32::from(depth) + u32::from(shift);
    let fits = match sample_bytes {
        1 => (1..=8).contains(&depth) && shift == 0,
        2 => depth >= 1 && bits <= 16,
        _ => false,
    };
    if fits && step >= 1 {
        Ok(())
    } else {
        Err(PixelError::Layout {
            depth,
            shift,
            sample_bytes,
            step,
        })
    }
}

/// Bytes that `height` rows of `row_bytes` need at `stride`; the last one may end early.
pub(crate) fn needed(stride: usize, row_bytes: usize, height: usize) -> Option<usize> {
    match height {
        0 => Some(0),
        _ => stride.checked_mul(height - 1)?.checked_add(row_bytes),
    }
}

macro_rules! common {
    () => {
        /// Samples in a row.
        pub fn width(&self) -> usize {
            self.width
        }

        /// Rows.
        pub fn height(&self) -> usize {
            self.height
        }

        /// Significant bits of a sample.
        pub fn depth(&self) -> u8 {
            self.depth
        }

        /// Bits a value is shifted up by in memory.
        pub fn shift(&self) -> u8 {
            self.shift
        }

        /// Bytes of a sample, 1 or 2.
        pub fn sample_bytes(&self) -> usize {
            self.sample_bytes
        }

        /// Samples from one value of a row to the next.
        pub fn step(&self) -> usize {
            self.step
        }

        /// Bytes from one row to the next.
        pub fn stride(&self) -> usize {
            self.stride
        }

        /// The greatest value, 2^depth - 1.
        pub fn max_value(&self) -> u32 {
            (1 << self.depth) - 1
        }

        pub(crate) fn layout(&self) -> Layout {
            Layout {
                bytes: self.sample_bytes,
                step: self.step,
                shift: u32::from(self.shift),
                max: self.max_value(),
            }
        }

        /// Cuts a rectangle to the component: offset in bytes, width, height.
        fn cut(&self, x: usize, y: usize, w: usize, h: usize) -> (usize, usize, usize) {
            let w = w.min(self.width.saturating_sub(x));
            let h = h.min(self.height.saturating_sub(y));
            if w == 0 || h == 0 {
                return (0, 0, 0);
            }
            (y * self.stride + x * self.step * self.sample_bytes, w, h)
        }

        fn row_range(&self, y: usize) -> std::ops::Range<usize> {
            let from = y * self.stride;
            from..from + self.layout().span(self.width)
        }
    };
}

/// A component that can be read.
#[derive(Debug, Clone, Copy)]
pub struct CompRef<'a> {
    data: &'a [u8],
    stride: usize,
    step: usize,
    width: usize,
    height: usize,
    depth: u8,
    shift: u8,
    sample_bytes: usize,
}

/// A component that can be written.
#[derive(Debug)]
pub struct CompMut<'a> {
    data: &'a mut [u8],
    stride: usize,
    step: usize,
    width: usize,
    height: usize,
    depth: u8,
    shift: u8,
    sample_bytes: usize,
}

/// The shape of a component: what [`CompRef::new`] and [`CompMut::new`] take beside memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompShape {
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Samples from one value of a row to the next.
    pub step: usize,
    /// Values in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Significant bits of a value.
    pub depth: u8,
    /// Bits a value is shifted up by in memory.
    pub shift: u8,
    /// Bytes of a sample, 1 or 2.
    pub sample_bytes: usize,
}

impl CompShape {
    /// A tightly packed plane of `width` x `height` values of `depth` bits.
    pub fn packed(width: usize, height: usize, depth: u8) -> Self {
        let sample_bytes = if depth > 8 { 2 } else { 1 };
        let stride = width.saturating_mul(sample_bytes);
        Self {
            stride,
            step: 1,
            width,
            height,
            depth,
            shift: 0,
            sample_bytes,
        }
    }

    fn check(&self, len: usize) -> Result<(), PixelError> {
        let &Self {
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        } = self;
        check_layout(depth, shift, sample_bytes, step)?;
        if width > crate::MAX_DIMENSION || height > crate::MAX_DIMENSION {
            return Err(PixelError::Size { width, height });
        }
        if width == 0 || height == 0 {
            return Ok(());
        }
        let row_bytes = (width - 1)
            .checked_mul(step)
            .and_then(|n| n.checked_add(1))
            .and_then(|n| n.checked_mul(sample_bytes))
            .unwrap_or(usize::MAX);
        if row_bytes > stride && height > 1 {
            return Err(PixelError::Stride {
                plane: 0,
                stride,
                row_bytes,
            });
        }
        let needed = needed(stride, row_bytes, height).unwrap_or(usize::MAX);
        if len < needed {
            return Err(PixelError::Length {
                plane: 0,
                actual: len,
                needed,
            });
        }
        Ok(())
    }
}

impl<'a> CompRef<'a> {
    /// A component over memory of one's own.
    ///
    /// # Errors
    /// If the shape contradicts itself or the memory is too short for it.
    pub fn new(data: &'a [u8], shape: CompShape) -> Result<Self, PixelError> {
        shape.check(data.len())?;
        let CompShape {
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        } = shape;
        Ok(Self {
            data,
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        })
    }

    common!();

    /// The rectangle of `w` x `h` samples at (`x`, `y`), cut to the component.
    pub fn rect(&self, x: usize, y: usize, w: usize, h: usize) -> CompRef<'a> {
        let (from, width, height) = self.cut(x, y, w, h);
        CompRef {
            data: &self.data[from..],
            width,
            height,
            ..*self
        }
    }

    /// The bytes of row `y`, from its first value to the end of its last.
    ///
    /// # Panics
    /// If there is no row `y`.
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.data[self.row_range(y)]
    }

    /// The value at (`x`, `y`), both clamped to the component; 0 in an empty one.
    pub fn get(&self, x: usize, y: usize) -> u32 {
        if self.width == 0 || self.height == 0 {
            return 0;
        }
        let row = self.row(y.min(self.height - 1));
        let at = x.min(self.width - 1) * self.step * self.sample_bytes;
        let raw = match self.sample_bytes {
            1 => u32::from(row[at]),
            _ => u32::from(u16::from_le_bytes([row[at], row[at + 1]])),
        };
        (raw >> self.shift) & self.max_value()
    }
}

impl<'a> CompMut<'a> {
    /// A component over memory of one's own.
    ///
    /// # Errors
    /// If the shape contradicts itself or the memory is too short for it.
    pub fn new(data: &'a mut [u8], shape: CompShape) -> Result<Self, PixelError> {
        shape.check(data.len())?;
        let CompShape {
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        } = shape;
        Ok(Self {
            data,
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        })
    }

    common!();

    /// The same component, for reading.
    pub fn as_ref(&self) -> CompRef<'_> {
        let &Self {
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
            ..
        } = self;
        CompRef {
            data: self.data,
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        }
    }

    /// The same component for a shorter time.
    pub fn reborrow(&mut self) -> CompMut<'_> {
        let &mut Self {
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
            ..
        } = self;
        CompMut {
            data: self.data,
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        }
    }

    /// The rectangle of `w` x `h` samples at (`x`, `y`), cut to the component.
    pub fn rect(&mut self, x: usize, y: usize, w: usize, h: usize) -> CompMut<'_> {
        let (from, width, height) = self.cut(x, y, w, h);
        let &mut Self {
            stride,
            step,
            depth,
            shift,
            sample_bytes,
            ..
        } = self;
        let data = &mut self.data[from..];
        CompMut {
            data,
            stride,
            step,
            width,
            height,
            depth,
            shift,
            sample_bytes,
        }
    }

    /// The bytes of row `y`, from its first value to the end of its last. Between values
    /// lie those of other components if the step is more than 1.
    ///
    /// # Panics
    /// If there is no row `y`.
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let range = self.row_range(y);
        &mut self.data[range]
    }

    /// Writes `value`, clamped to the depth, at (`x`, `y`); nothing outside the component.
    pub fn set(&mut self, x: usize, y: usize, value: u32) {
        if x >= self.width || y >= self.height {
            return;
        }
        let raw = value.min(self.max_value()) << self.shift;
        let (at, bytes) = (x * self.step * self.sample_bytes, self.sample_bytes);
        self.row_mut(y)[at..at + bytes].copy_from_slice(&raw.to_le_bytes()[..bytes]);
    }

    /// Writes `value`, clamped to the depth, everywhere.
    pub fn fill(&mut self, value: u32) {
        for y in 0..self.height {
            for x in 0..self.width {
                self.set(x, y, value);
            }
        }
    }
}
