//! Filter tables in device memory.

use gstneural_pixels::{
    ChromaDown, ChromaSite, ChromaUp, Filter, FilterTable, FrameScaler, PixelFormat, Resampler,
};

use crate::{buffer::DeviceBuffer, copies::Cargo, device::Stream, error::Result, params::Taps};

/// One axis.
#[derive(Debug)]
struct Axis {
    starts: DeviceBuffer,
    weights: DeviceBuffer,
    taps: u32,
    outputs: u32,
}

impl Axis {
    fn new(stream: &Stream, table: FilterTable<'_>) -> Result<Self> {
        let starts: Vec<u8> = table.starts.iter().flat_map(|v| v.to_ne_bytes()).collect();
        let weights: Vec<u8> = table.weights.iter().flat_map(|v| v.to_ne_bytes()).collect();
        Ok(Self {
            starts: DeviceBuffer::with(stream, &starts, Cargo::Table)?,
            weights: DeviceBuffer::with(stream, &weights, Cargo::Table)?,
            taps: table.taps as u32,
            outputs: table.starts.len() as u32,
        })
    }

    fn raw(&self) -> Taps {
        Taps {
            starts: self.starts.address(),
            weights: self.weights.address(),
            taps: self.taps,
            outputs: self.outputs,
        }
    }
}

/// The tables of a [`Resampler`]: kernels filter exactly as it does.
#[derive(Debug)]
pub struct DeviceFilter {
    across: Axis,
    down: Axis,
    src: (usize, usize),
    dst: (usize, usize),
}

impl DeviceFilter {
    /// Copies the tables to the device.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::Error::OutOfMemory), or what the driver says.
    pub fn new(stream: &Stream, resampler: &Resampler) -> Result<Self> {
        let (across, down) = resampler.tables();
        Ok(Self {
            across: Axis::new(stream, across)?,
            down: Axis::new(stream, down)?,
            src: resampler.src_size(),
            dst: resampler.dst_size(),
        })
    }

    /// Chroma of `format` at the size of luma, `width` x `height`: for
    /// [`Kernels::load_rgb_of_yuv`](crate::Kernels::load_rgb_of_yuv).
    ///
    /// # Errors
    /// For sizes that cannot be; as [`Self::new`].
    pub fn chroma_up(
        stream: &Stream,
        format: PixelFormat,
        site: ChromaSite,
        (width, height): (usize, usize),
    ) -> Result<Self> {
        let (w, h) = subsampling(format);
        Self::new(
            stream,
            ChromaUp::new(width, height, w, h, site)?.resampler(),
        )
    }

    /// Chroma of the size of luma, `width` x `height`, to that of `format`: for
    /// [`Kernels::store_rgb_as_yuv`](crate::Kernels::store_rgb_as_yuv).
    ///
    /// # Errors
    /// For sizes that cannot be; as [`Self::new`].
    pub fn chroma_down(
        stream: &Stream,
        format: PixelFormat,
        site: ChromaSite,
        (width, height): (usize, usize),
    ) -> Result<Self> {
        let (w, h) = subsampling(format);
        Self::new(
            stream,
            ChromaDown::new(width, height, w, h, site)?.resampler(),
        )
    }

    /// Width and height before.
    pub fn src_size(&self) -> (usize, usize) {
        self.src
    }

    /// Width and height after.
    pub fn dst_size(&self) -> (usize, usize) {
        self.dst
    }

    pub(crate) fn raw(&self) -> (Taps, Taps) {
        (self.across.raw(), self.down.raw())
    }
}

fn subsampling(format: PixelFormat) -> (u8, u8) {
    let chroma = format.info().components.get(1);
    chroma.map_or((0, 0), |c| (c.sub_w, c.sub_h))
}

/// The tables of a [`FrameScaler`]: the classical upscale of whole frames.
#[derive(Debug)]
pub struct DeviceScaler {
    pub(crate) format: PixelFormat,
    pub(crate) src: (usize, usize),
    pub(crate) dst: (usize, usize),
    pub(crate) full: DeviceFilter,
    pub(crate) chroma: Option<DeviceFilter>,
}

impl DeviceScaler {
    /// From `src` to `dst` (width, height); chroma lies at `site` on both sides.
    ///
    /// # Errors
    /// For sizes that cannot be; as [`DeviceFilter::new`].
    pub fn new(
        stream: &Stream,
        format: PixelFormat,
        site: ChromaSite,
        src: (usize, usize),
        dst: (usize, usize),
        filter: Filter,
    ) -> Result<Self> {
        let scaler = FrameScaler::new(format, src.0, src.1, dst.0, dst.1, site, filter)?;
        let sub = subsampling(format);
        Ok(Self {
            format,
            src,
            dst,
            full: DeviceFilter::new(stream, scaler.resampler(0))?,
            chroma: (sub != (0, 0))
                .then(|| DeviceFilter::new(stream, scaler.resampler(1)))
                .transpose()?,
        })
    }
}
