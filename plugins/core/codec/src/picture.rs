//! Frames as the codec holds them.

use crate::{
    CodecError, Result,
    bitstream::{Chroma, Header, MAX_SIDE},
    lossless::Sheet,
};

/// A plane of samples of up to 16 bits, rows one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plane {
    /// Samples a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height` samples.
    pub samples: Vec<u16>,
}

impl Plane {
    /// A plane of one value.
    pub fn new(width: usize, height: usize, value: u16) -> Self {
        Self {
            width,
            height,
            samples: vec![value; width * height],
        }
    }

    /// Row `y`; empty if there is none.
    pub fn row(&self, y: usize) -> &[u16] {
        self.samples
            .get(y * self.width..(y + 1) * self.width)
            .unwrap_or(&[])
    }
}

/// Format of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Luma samples a row.
    pub width: u32,
    /// Luma rows.
    pub height: u32,
    /// Which chroma samples there are.
    pub chroma: Chroma,
    /// Bits of a sample, 8 or 10.
    pub depth: u8,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}x{} {:?} {} bit",
            self.width, self.height, self.chroma, self.depth
        )
    }
}

impl Format {
    /// The format that a header tells.
    pub fn of(header: &Header) -> Self {
        let Header {
            width,
            height,
            chroma,
            depth,
            ..
        } = *header;
        Self {
            width,
            height,
            chroma,
            depth,
        }
    }

    /// Checks that the codec takes it.
    ///
    /// # Errors
    /// [`CodecError::Setting`] names the field that is out of range.
    pub fn check(&self) -> Result<()> {
        let bad = |what, value: u32, range| {
            Err(CodecError::Setting {
                what,
                value: value.into(),
                range,
            })
        };
        for (what, side) in [("width", self.width), ("height", self.height)] {
            if side == 0 || side > MAX_SIDE {
                return bad(what, side, "1 to 16384");
            }
        }
        match self.depth {
            8 | 10 => Ok(()),
            d => bad("bit depth", d.into(), "8 or 10"),
        }
    }

    /// Size of plane `p`.
    pub fn plane_size(&self, p: usize) -> (usize, usize) {
        let (sx, sy) = if p == 0 { (0, 0) } else { self.chroma.shifts() };
        (
            (self.width as usize).div_ceil(1 << sx),
            (self.height as usize).div_ceil(1 << sy),
        )
    }

    /// Samples of all planes.
    pub fn samples(&self) -> usize {
        (0..self.chroma.planes())
            .map(|p| self.plane_size(p))
            .map(|(w, h)| w * h)
            .sum()
    }

    /// Bytes of a frame without padding.
    pub fn bytes(&self) -> usize {
        self.samples() * usize::from(self.depth.div_ceil(8))
    }

    /// The greatest value of a sample.
    pub fn max(&self) -> u16 {
        (1 << self.depth) - 1
    }
}

impl Default for Picture {
    /// A picture without planes, for the memory that it will have.
    fn default() -> Self {
        let format = Format {
            width: 0,
            height: 0,
            chroma: Chroma::Gray,
            depth: 8,
        };
        Self {
            format,
            planes: Vec::new(),
        }
    }
}

/// A frame: one plane, or luma and two of chroma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its format.
    pub format: Format,
    /// Y, U, V.
    pub planes: Vec<Plane>,
}

impl Picture {
    /// A picture of mid-grey.
    pub fn grey(format: Format) -> Self {
        let plane = |p| {
            let (w, h) = format.plane_size(p);
            Plane::new(w, h, 1 << (format.depth - 1))
        };
        Self {
            format,
            planes: (0..format.chroma.planes()).map(plane).collect(),
        }
    }

    /// A picture from planar samples without padding: bytes, or 16 bits little endian where the
    /// depth is 10. Bits above the depth are dropped.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] if there are fewer bytes than [`Format::bytes`], and those of
    /// [`Format::check`].
    pub fn from_bytes(format: Format, bytes: &[u8]) -> Result<Self> {
        format.check()?;
        let mut r = crate::bitstream::Reader::new(bytes, "frame");
        let mut out = Self {
            format,
            planes: Vec::new(),
        };
        for p in 0..format.chroma.planes() {
            let (width, height) = format.plane_size(p);
            let samples = if format.depth == 8 {
                r.take(width * height)?.iter().map(|&b| b.into()).collect()
            } else {
                let (pairs, _) = r.take(2 * width * height)?.as_chunks::<2>();
                pairs
                    .iter()
                    .map(|&b| u16::from_le_bytes(b) & format.max())
                    .collect()
            };
            out.planes.push(Plane {
                width,
                height,
                samples,
            });
        }
        Ok(out)
    }

    /// The bytes that [`Self::from_bytes`] takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let samples = self.planes.iter().flat_map(|p| &p.samples);
        if self.format.depth == 8 {
            samples.map(|&s| s as u8).collect()
        } else {
            samples.flat_map(|s| s.to_le_bytes()).collect()
        }
    }

    /// CRC-32 of [`Self::to_bytes`].
    pub fn crc(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        let mut bytes = [0; 1024];
        for samples in self.planes.iter().flat_map(|p| p.samples.chunks(512)) {
            let n = if self.format.depth == 8 {
                for (to, &s) in bytes.iter_mut().zip(samples) {
                    *to = s as u8;
                }
                samples.len()
            } else {
                for (to, s) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
                    *to = s.to_le_bytes();
                }
                2 * samples.len()
            };
            crc.update(bytes.get(..n).unwrap_or_default());
        }
        crc.finalize()
    }
}

impl Picture {
    /// Makes it one of mid-grey in `format`, in the memory that it has.
    pub(crate) fn reset(&mut self, format: Format) {
        self.format = format;
        self.planes
            .resize_with(format.chroma.planes(), Plane::default);
        for (p, plane) in self.planes.iter_mut().enumerate() {
            (plane.width, plane.height) = format.plane_size(p);
            plane.samples.clear();
            let count = plane.width * plane.height;
            plane.samples.resize(count, 1 << (format.depth - 1));
        }
    }

    /// Makes it a copy of `other`, in the memory that it has.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.format = other.format;
        self.planes.resize_with(other.planes.len(), Plane::default);
        for (to, from) in self.planes.iter_mut().zip(&other.planes) {
            (to.width, to.height) = (from.width, from.height);
            to.samples.clone_from(&from.samples);
        }
    }

    /// Checks that the picture has this format and all its samples, none beyond its depth.
    pub(crate) fn check(&self, format: Format) -> Result<()> {
        let whole = |(p, plane): (usize, &Plane)| {
            (plane.width, plane.height) == format.plane_size(p)
                && plane.samples.len() == plane.width * plane.height
                && plane.samples.iter().all(|&s| s <= format.max())
        };
        let planes = self.planes.len() == format.chroma.planes();
        if self.format == format && planes && self.planes.iter().enumerate().all(whole) {
            return Ok(());
        }
        Err(CodecError::Format {
            found: self.format.to_string(),
            expected: format.to_string(),
        })
    }

    /// Puts rows of a slice, whose first luma row is `top`, into the planes.
    pub(crate) fn put_rows(&mut self, top: usize, rows: &[Sheet]) {
        let shifts = self.format.chroma.shifts();
        for (p, (plane, sheet)) in self.planes.iter_mut().zip(rows).enumerate() {
            let top = if p == 0 { top } else { top >> shifts.1 };
            let width = plane.width.max(1);
            for (y, to) in plane
                .samples
                .chunks_mut(width)
                .skip(top)
                .take(sheet.height)
                .enumerate()
            {
                for (to, &v) in to.iter_mut().zip(sheet.samples(y)) {
                    *to = v as u16;
                }
            }
        }
    }

    /// Copies the rows of a slice, a picture of its own, to luma row `top` and below.
    pub(crate) fn put_slice(&mut self, top: usize, rows: &Picture) {
        let (_, down) = self.format.chroma.shifts();
        for (p, (plane, from)) in self.planes.iter_mut().zip(&rows.planes).enumerate() {
            let at = (top >> if p == 0 { 0 } else { down }) * plane.width;
            if let Some(to) = plane.samples.get_mut(at..at + from.samples.len()) {
                to.copy_from_slice(&from.samples);
            }
        }
    }
}
