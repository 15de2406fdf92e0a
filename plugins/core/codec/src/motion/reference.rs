//! Reference pictures with their edges repeated.

use crate::{Format, Picture, Plane};

/// Samples repeated beyond each edge: a block of 16 that lies outside altogether, and its filter.
pub const PADDING: usize = 32;

/// A plane whose edge samples are repeated [`PADDING`] times on every side.
#[derive(Debug, Clone, Default)]
pub struct PaddedPlane {
    /// Samples a row without padding.
    pub width: usize,
    /// Rows without padding.
    pub height: usize,
    /// Samples a row.
    pub stride: usize,
    /// All samples.
    pub samples: Vec<u16>,
}

impl PaddedPlane {
    /// Pads a plane.
    pub fn new(plane: &Plane) -> Self {
        let mut out = Self::default();
        out.fill(plane);
        out
    }

    /// Pads a plane in the memory that is there.
    fn fill(&mut self, plane: &Plane) {
        let (width, height) = (plane.width, plane.height);
        let stride = width + 2 * PADDING;
        let mut samples = std::mem::take(&mut self.samples);
        samples.clear();
        samples.reserve_exact(stride * (height + 2 * PADDING));
        for y in 0..height + 2 * PADDING {
            let row = plane.row(y.saturating_sub(PADDING).min(height.saturating_sub(1)));
            let (first, last) = (row.first().copied(), row.last().copied());
            samples.extend([first.unwrap_or(0); PADDING]);
            samples.extend_from_slice(row);
            samples.extend([last.unwrap_or(0); PADDING]);
        }
        *self = Self {
            width,
            height,
            stride,
            samples,
        };
    }

    /// Makes it a copy of `other`, in the memory that is there.
    pub(super) fn copy_from(&mut self, other: &Self) {
        (self.width, self.height) = (other.width, other.height);
        self.stride = other.stride;
        self.samples.clone_from(&other.samples);
    }

    /// Where the block of up to 16x16 samples at (`x`, `y`) begins, clamped so that the block and
    /// its filter lie inside: a block farther outside has the same samples.
    pub(crate) fn offset(&self, x: i32, y: i32) -> usize {
        let clamp = |v: i32, size: usize| (v.clamp(-24, size as i32 + 8) + PADDING as i32) as usize;
        clamp(y, self.height) * self.stride + clamp(x, self.width)
    }
}

/// A picture that others are predicted from.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Its format.
    pub format: Format,
    /// Its planes.
    pub planes: Vec<PaddedPlane>,
}

impl Reference {
    /// Pads all planes of a picture.
    pub fn new(picture: &Picture) -> Self {
        let planes = picture.planes.iter().map(PaddedPlane::new).collect();
        Self {
            format: picture.format,
            planes,
        }
    }

    /// Pads all planes of a picture in the memory that is there.
    pub(crate) fn fill(&mut self, picture: &Picture) {
        self.format = picture.format;
        self.planes
            .resize_with(picture.planes.len(), PaddedPlane::default);
        for (to, plane) in self.planes.iter_mut().zip(&picture.planes) {
            to.fill(plane);
        }
    }
}
