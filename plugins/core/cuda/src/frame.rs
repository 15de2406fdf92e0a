//! Frames in device memory.

use gstneural_pixels::{
    Color, FrameMut, FrameRef, MAX_DIMENSION, PixelError, PixelFormat, PlaneMut, subsampled,
};

use crate::{
    buffer::{DeviceBuffer, Rows, copy_rows},
    copies::Cargo,
    device::{Device, Stream},
    error::{Error, Result, arguments},
    params::Comp,
};

/// Planes that a frame may have.
const MAX_PLANES: usize = gstneural_pixels::MAX_PLANES;

/// A plane in device memory: what a GstVideoMeta says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DevicePlane {
    /// Address of the first row.
    pub address: u64,
    /// Bytes from one row to the next.
    pub pitch: usize,
    /// Bytes that may be touched from `address` on.
    pub bytes: usize,
}

/// A frame in device memory, not owned. Checked when it is made, so that kernels stay within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceFrame {
    format: PixelFormat,
    width: usize,
    height: usize,
    color: Color,
    planes: [DevicePlane; MAX_PLANES],
}

impl DeviceFrame {
    /// A frame over planes, in the format's order of planes. The memory must live, and belong to
    /// the device, until the work on the frame is done.
    ///
    /// # Errors
    /// For a size of 0 or beyond [`MAX_DIMENSION`], a missing plane, a pitch that is less than a
    /// row, a plane that ends before the last row, or an address that samples of two bytes do not
    /// bear.
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Color,
        planes: &[DevicePlane],
    ) -> Result<Self> {
        let fits = 1..=MAX_DIMENSION;
        if !fits.contains(&width) || !fits.contains(&height) {
            return Err(PixelError::Size { width, height }.into());
        }
        let info = format.info();
        if planes.len() != info.planes {
            return Err(Error::Pixels(PixelError::PlaneCount {
                format,
                expected: info.planes,
                actual: planes.len(),
            }));
        }
        let mut out = [DevicePlane::default(); MAX_PLANES];
        for (i, (slot, plane)) in out.iter_mut().zip(planes).enumerate() {
            let (row_bytes, rows) = format.plane_size(i, width, height);
            if (plane.pitch < row_bytes && rows > 1) || u32::try_from(plane.pitch).is_err() {
                return Err(Error::Pixels(PixelError::Stride {
                    plane: i,
                    stride: plane.pitch,
                    row_bytes,
                }));
            }
            let needed = plane
                .pitch
                .saturating_mul(rows - 1)
                .saturating_add(row_bytes);
            if plane.bytes < needed {
                return Err(Error::Pixels(PixelError::Length {
                    plane: i,
                    actual: plane.bytes,
                    needed,
                }));
            }
            let unit = info.sample_bytes as u64;
            let odd = |n: u64| !n.is_multiple_of(unit);
            if plane.address == 0 || odd(plane.address) || odd(plane.pitch as u64) {
                return arguments(format!(
                    "plane {i} at {:#x}, pitch {}, is no memory for samples of {unit} bytes",
                    plane.address, plane.pitch
                ));
            }
            *slot = *plane;
        }
        Ok(Self {
            format,
            width,
            height,
            color,
            planes: out,
        })
    }

    /// The pixel format.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Matrix, range and chroma siting.
    pub fn color(&self) -> Color {
        self.color
    }

    /// Planes of the format.
    pub fn planes(&self) -> &[DevicePlane] {
        &self.planes[..self.format.info().planes]
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Width and height of component `c`.
    pub(crate) fn component_size(&self, c: usize) -> Result<(usize, usize)> {
        let comp = self.component(c)?;
        Ok((comp.width as usize, comp.height as usize))
    }

    pub(crate) fn component(&self, c: usize) -> Result<Comp> {
        let info = self.format.info();
        let Some(comp) = info.components.get(c) else {
            return arguments(format!("{} has no component {c}", info.name));
        };
        let plane = &self.planes[comp.plane];
        Ok(Comp {
            data: plane.address + (comp.offset * info.sample_bytes) as u64,
            pitch: plane.pitch as u32,
            width: subsampled(self.width, comp.sub_w) as u32,
            height: subsampled(self.height, comp.sub_h) as u32,
            bytes: info.sample_bytes as u32,
            step: comp.step as u32,
            shift: u32::from(comp.shift),
            max: (1 << info.depth) - 1,
            unused: 0,
        })
    }

    pub(crate) fn check_format(&self, format: PixelFormat) -> Result<()> {
        if self.format == format {
            return Ok(());
        }
        arguments(format!(
            "a frame of {} where {} is wanted",
            self.format.info().name,
            format.info().name
        ))
    }

    /// Copies a frame from the host into this one, counted in the stream's copies.
    ///
    /// # Errors
    /// If the frames differ in format or size, or what the driver says.
    pub fn upload(&self, stream: &Stream, from: &FrameRef<'_>) -> Result<()> {
        self.check_like(from.format(), from.width(), from.height())?;
        for (i, to) in self.planes().iter().enumerate() {
            let (row_bytes, rows) = self.format.plane_size(i, self.width, self.height);
            let plane = from.plane(i);
            stream.copies.to_device(Cargo::Frame, row_bytes * rows);
            // SAFETY: both planes were checked to hold the rows; the copy is waited for.
            unsafe {
                copy_rows(
                    stream,
                    (Rows::Device(to.address), to.pitch),
                    (Rows::Host(plane.data.as_ptr()), plane.stride),
                    row_bytes,
                    rows,
                )?;
            }
        }
        stream.synchronise()
    }

    /// Copies the frame to the host, counted in the stream's copies, and waits for it.
    ///
    /// # Errors
    /// If the frames differ in format or size, or what the driver says.
    pub fn download(&self, stream: &Stream, to: &mut FrameMut<'_>) -> Result<()> {
        self.check_like(to.format(), to.width(), to.height())?;
        for (i, from) in self.planes().iter().enumerate() {
            let (row_bytes, rows) = self.format.plane_size(i, self.width, self.height);
            let PlaneMut { data, stride } = to.plane_mut(i);
            stream.copies.to_host(Cargo::Frame, row_bytes * rows);
            // SAFETY: both planes were checked to hold the rows; the copy is waited for.
            unsafe {
                copy_rows(
                    stream,
                    (Rows::HostMut(data.as_mut_ptr()), stride),
                    (Rows::Device(from.address), from.pitch),
                    row_bytes,
                    rows,
                )?;
            }
        }
        stream.synchronise()
    }

    fn check_like(&self, format: PixelFormat, width: usize, height: usize) -> Result<()> {
        self.check_format(format)?;
        if self.size() == (width, height) {
            return Ok(());
        }
        arguments(format!(
            "a frame of {width}x{height} where {}x{} is wanted",
            self.width, self.height
        ))
    }

    pub(crate) fn check_alike(&self, other: &DeviceFrame) -> Result<()> {
        self.check_like(other.format, other.width, other.height)
    }
}

/// A frame with device memory of its own; every pitch is a multiple of 256 bytes.
#[derive(Debug)]
pub struct DeviceFrameBuf {
    frame: DeviceFrame,
    _memory: DeviceBuffer,
}

impl DeviceFrameBuf {
    /// A frame of unknown content.
    ///
    /// # Errors
    /// For a size that cannot be, [`Error::OutOfMemory`], or what the driver says.
    pub fn new(
        device: &Device,
        format: PixelFormat,
        width: usize,
        height: usize,
        color: Color,
    ) -> Result<Self> {
        let (mut planes, total) = laid_out(format, width, height);
        let memory = DeviceBuffer::new(device, total)?;
        planes
            .iter_mut()
            .for_each(|p| p.address += memory.address());
        Ok(Self {
            frame: DeviceFrame::new(format, width, height, color, &planes)?,
            _memory: memory,
        })
    }

    /// Bytes of device memory that a frame takes.
    pub fn bytes_of(format: PixelFormat, width: usize, height: usize) -> u64 {
        laid_out(format, width, height).1 as u64
    }

    /// The frame. It must not be used after this is dropped.
    pub fn frame(&self) -> DeviceFrame {
        self.frame
    }
}

/// Planes from address 0 on, and the bytes of all.
fn laid_out(format: PixelFormat, width: usize, height: usize) -> (Vec<DevicePlane>, usize) {
    let mut total = 0usize;
    let plane = |i| {
        let (row_bytes, rows) = format.plane_size(i, width, height);
        let pitch = row_bytes.next_multiple_of(256);
        let bytes = pitch.saturating_mul(rows);
        let address = total as u64;
        total = total.saturating_add(bytes);
        DevicePlane {
            address,
            pitch,
            bytes,
        }
    };
    let planes = (0..format.info().planes).map(plane).collect();
    (planes, total)
}
