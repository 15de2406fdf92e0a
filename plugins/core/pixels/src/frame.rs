//! Frames: planes of memory with a format, a size and a colour description.

use crate::component::needed;
use crate::format::subsampled;
use crate::{Color, CompMut, CompRef, CompShape, MAX_DIMENSION, PixelError, PixelFormat};

/// Most planes that a format has.
pub const MAX_PLANES: usize = 4;

/// A plane that can be read.
#[derive(Debug, Clone, Copy)]
pub struct PlaneRef<'a> {
    /// Memory from the first row on; the last row may be shorter than the stride.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// A plane that can be written.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    /// Memory from the first row on; the last row may be shorter than the stride.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    format: PixelFormat,
    width: usize,
    height: usize,
    color: Color,
}

impl Header {
    fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Color,
    ) -> Result<Self, PixelError> {
        let fits = 1..=MAX_DIMENSION;
        if !fits.contains(&width) || !fits.contains(&height) {
            return Err(PixelError::Size { width, height });
        }
        Ok(Self {
            format,
            width,
            height,
            color,
        })
    }

    fn check_count(&self, actual: usize) -> Result<(), PixelError> {
        let expected = self.format.info().planes;
        if actual != expected {
            return Err(PixelError::PlaneCount {
                format: self.format,
                expected,
                actual,
            });
        }
        Ok(())
    }

    fn check_plane(&self, plane: usize, len: usize, stride: usize) -> Result<(), PixelError> {
        let (row_bytes, rows) = self.format.plane_size(plane, self.width, self.height);
        if stride < row_bytes && rows > 1 {
            return Err(PixelError::Stride {
                plane,
                stride,
                row_bytes,
            });
        }
        let needed = needed(stride, row_bytes, rows).unwrap_or(usize::MAX);
        if len < needed {
            return Err(PixelError::Length {
                plane,
                actual: len,
                needed,
            });
        }
        Ok(())
    }

    /// The plane of component `c`, the bytes before its first value and its shape.
    fn locate(&self, c: usize, strides: impl Fn(usize) -> usize) -> (usize, usize, CompShape) {
        let info = self.format.info();
        let comp = &info.components[c];
        let shape = CompShape {
            stride: strides(comp.plane),
            step: comp.step,
            width: subsampled(self.width, comp.sub_w),
            height: subsampled(self.height, comp.sub_h),
            depth: info.depth,
            shift: comp.shift,
            sample_bytes: info.sample_bytes,
        };
        (comp.plane, comp.offset * info.sample_bytes, shape)
    }
}

macro_rules! header {
    () => {
        /// The pixel format.
        pub fn format(&self) -> PixelFormat {
            self.header.format
        }

        /// Width in pixels.
        pub fn width(&self) -> usize {
            self.header.width
        }

        /// Height in pixels.
        pub fn height(&self) -> usize {
            self.header.height
        }

        /// Matrix, range and chroma siting.
        pub fn color(&self) -> Color {
            self.header.color
        }
    };
}

/// A frame that can be read.
#[derive(Debug, Clone, Copy)]
pub struct FrameRef<'a> {
    header: Header,
    planes: [PlaneRef<'a>; MAX_PLANES],
}

impl<'a> FrameRef<'a> {
    /// A frame over borrowed planes, in the format's plane order.
    ///
    /// # Errors
    /// If the size, the number of planes, a stride or the length of a plane is wrong.
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Color,
        planes: &[PlaneRef<'a>],
    ) -> Result<Self, PixelError> {
        let header = Header::new(format, width, height, color)?;
        header.check_count(planes.len())?;
        let mut out = [PlaneRef {
            data: &[],
            stride: 0,
        }; MAX_PLANES];
        for (i, (slot, plane)) in out.iter_mut().zip(planes).enumerate() {
            header.check_plane(i, plane.data.len(), plane.stride)?;
            *slot = *plane;
        }
        Ok(Self {
            header,
            planes: out,
        })
    }

    header!();

    /// Plane `i`.
    ///
    /// # Panics
    /// If `i` is not less than [`MAX_PLANES`].
    pub fn plane(&self, i: usize) -> PlaneRef<'a> {
        self.planes[i]
    }

    /// Component `c`, in the order of [`FormatInfo::components`](crate::FormatInfo::components).
    ///
    /// # Panics
    /// If the format has no component `c`.
    pub fn component(&self, c: usize) -> CompRef<'a> {
        let (plane, offset, shape) = self.header.locate(c, |p| self.planes[p].stride);
        match CompRef::new(&self.planes[plane].data[offset..], shape) {
            Ok(comp) => comp,
            // The constructor has checked every plane.
            Err(error) => unreachable!("{error}"),
        }
    }
}

/// A frame that can be written.
#[derive(Debug)]
pub struct FrameMut<'a> {
    header: Header,
    planes: [PlaneMut<'a>; MAX_PLANES],
}

impl<'a> FrameMut<'a> {
    /// A frame over borrowed planes, in the format's plane order.
    ///
    /// # Errors
    /// If the size, the number of planes, a stride or the length of a plane is wrong.
    pub fn new<P>(
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Color,
        planes: P,
    ) -> Result<Self, PixelError>
    where
        P: IntoIterator<Item = PlaneMut<'a>>,
        P::IntoIter: ExactSizeIterator,
    {
        let header = Header::new(format, width, height, color)?;
        let planes = planes.into_iter();
        header.check_count(planes.len())?;
        let mut out: [PlaneMut<'a>; MAX_PLANES] = std::array::from_fn(|_| PlaneMut {
            data: &mut [],
            stride: 0,
        });
        for (i, (slot, plane)) in out.iter_mut().zip(planes).enumerate() {
            header.check_plane(i, plane.data.len(), plane.stride)?;
            *slot = plane;
        }
        Ok(Self {
            header,
            planes: out,
        })
    }

    header!();

    /// Plane `i`.
    ///
    /// # Panics
    /// If `i` is not less than [`MAX_PLANES`].
    pub fn plane(&self, i: usize) -> PlaneRef<'_> {
        PlaneRef {
            data: self.planes[i].data,
            stride: self.planes[i].stride,
        }
    }

    /// Plane `i`, for writing.
    ///
    /// # Panics
    /// If `i` is not less than [`MAX_PLANES`].
    pub fn plane_mut(&mut self, i: usize) -> PlaneMut<'_> {
        PlaneMut {
            stride: self.planes[i].stride,
            data: self.planes[i].data,
        }
    }

    /// Component `c`, in the order of [`FormatInfo::components`](crate::FormatInfo::components).
    ///
    /// # Panics
    /// If the format has no component `c`.
    pub fn component_mut(&mut self, c: usize) -> CompMut<'_> {
        let (plane, offset, shape) = self.header.locate(c, |p| self.planes[p].stride);
        match CompMut::new(&mut self.planes[plane].data[offset..], shape) {
            Ok(comp) => comp,
            // The constructor has checked every plane.
            Err(error) => unreachable!("{error}"),
        }
    }

    /// The same frame, for reading.
    pub fn as_ref(&self) -> FrameRef<'_> {
        let planes = std::array::from_fn(|i| self.plane(i));
        FrameRef {
            header: self.header,
            planes,
        }
    }

    /// The same frame for a shorter time.
    pub fn reborrow(&mut self) -> FrameMut<'_> {
        let planes = self.planes.each_mut();
        let planes = planes.map(|p| PlaneMut {
            stride: p.stride,
            data: &mut *p.data,
        });
        FrameMut {
            header: self.header,
            planes,
        }
    }
}

/// A frame with memory of its own; every stride is a multiple of 64 bytes, all zero at first.
#[derive(Debug, Clone)]
pub struct FrameBuf {
    header: Header,
    data: Vec<u8>,
    /// Offset, stride and length of each plane.
    planes: [(usize, usize, usize); MAX_PLANES],
}

impl FrameBuf {
    /// A frame of zeros.
    ///
    /// # Errors
    /// If the size is outside 1..=[`MAX_DIMENSION`].
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Color,
    ) -> Result<Self, PixelError> {
        let header = Header::new(format, width, height, color)?;
        let mut planes = [(0, 0, 0); MAX_PLANES];
        let mut total = 0;
        for (i, slot) in planes.iter_mut().enumerate().take(format.info().planes) {
            let (row_bytes, rows) = format.plane_size(i, width, height);
            let stride = row_bytes.next_multiple_of(64);
            *slot = (total, stride, stride * rows);
            total += stride * rows;
        }
        Ok(Self {
            header,
            data: vec![0; total],
            planes,
        })
    }

    header!();

    /// The frame, for reading.
    pub fn as_ref(&self) -> FrameRef<'_> {
        let planes = self.planes.map(|(from, stride, len)| PlaneRef {
            data: &self.data[from..from + len],
            stride,
        });
        FrameRef {
            header: self.header,
            planes,
        }
    }

    /// The frame, for writing.
    pub fn as_mut(&mut self) -> FrameMut<'_> {
        let mut rest = self.data.as_mut_slice();
        let planes = self.planes.map(|(_, stride, len)| {
            let (data, tail) = std::mem::take(&mut rest).split_at_mut(len);
            rest = tail;
            PlaneMut { data, stride }
        });
        FrameMut {
            header: self.header,
            planes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [(usize, usize); 4] = [(1, 1), (3, 5), (64, 48), (853, 481)];

    #[test]
    fn components_of_every_format_are_independent() {
        for &format in PixelFormat::ALL {
            for (w, h) in SIZES {
                let mut frame = FrameBuf::new(format, w, h, Color::default()).unwrap();
                let comps = format.info().components.len();
                for c in 0..comps {
                    frame.as_mut().component_mut(c).fill(10 + c as u32);
                }
                for c in 0..comps {
                    let frame = frame.as_ref();
                    let comp = frame.component(c);
                    for y in 0..comp.height() {
                        for x in 0..comp.width() {
                            assert_eq!(comp.get(x, y), 10 + c as u32, "{format:?} {c} {x} {y}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn last_row_may_be_short_but_no_shorter() {
        for &format in PixelFormat::ALL {
            let sizes: Vec<_> = (0..format.info().planes)
                .map(|p| format.plane_size(p, 5, 3))
                .collect();
            let memory: Vec<Vec<u8>> = sizes
                .iter()
                .map(|(row, rows)| vec![0; (row + 7) * (rows - 1) + row])
                .collect();
            let planes: Vec<_> = memory
                .iter()
                .zip(&sizes)
                .map(|(data, (row, _))| PlaneRef {
                    data,
                    stride: row + 7,
                })
                .collect();
            let frame = FrameRef::new(format, 5, 3, Color::default(), &planes).unwrap();
            for c in 0..format.info().components.len() {
                let comp = frame.component(c);
                comp.row(comp.height() - 1);
            }
            let mut short = planes.clone();
            short[0].data = &short[0].data[1..];
            assert!(matches!(
                FrameRef::new(format, 5, 3, Color::default(), &short),
                Err(PixelError::Length { plane: 0, .. })
            ));
            let mut narrow = planes.clone();
            narrow[0].stride = 4;
            assert!(matches!(
                FrameRef::new(format, 5, 3, Color::default(), &narrow),
                Err(PixelError::Stride { plane: 0, .. })
            ));
            assert!(FrameRef::new(format, 5, 3, Color::default(), &planes[1..]).is_err());
            assert!(FrameRef::new(format, 0, 3, Color::default(), &planes).is_err());
            assert!(FrameRef::new(format, usize::MAX, 3, Color::default(), &planes).is_err());
        }
    }

    #[test]
    fn rect_is_cut_to_the_component() {
        let mut frame = FrameBuf::new(PixelFormat::Rgba, 8, 6, Color::default()).unwrap();
        let mut frame = frame.as_mut();
        let mut red = frame.component_mut(0);
        red.rect(6, 4, 10, 10).fill(9);
        assert_eq!(red.as_ref().get(5, 4), 0);
        assert_eq!(red.as_ref().get(7, 5), 9);
        assert_eq!(red.as_ref().rect(8, 0, 1, 1).width(), 0);
        assert_eq!(red.as_ref().rect(1, usize::MAX, 1, 1).height(), 0);
    }
}
