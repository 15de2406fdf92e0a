//! Frames in a GPU's memory, upscaled there: no copy of a frame goes through the host.
//!
//! [`GpuUpscaler`] is to frames in device memory what [`crate::Upscaler`] is to frames of the
//! processor's: the same routes, tiles, filters and views, by the kernels of `gstneural-cuda`, all
//! queued in one stream with the network.

mod engine;
mod net;
#[cfg(test)]
mod tests;
mod tiles;
mod upscaler;

pub use upscaler::{GpuFrame, GpuPrevious, GpuUpscaler, Unchanged};

use std::sync::Arc;

use gstneural_cuda::{Device, Kernels, Stream};

use crate::error::Result;

/// A device with its kernels and a stream of its own.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(crate) device: Device,
    pub(crate) kernels: Arc<Kernels>,
    pub(crate) stream: Arc<Stream>,
}

impl Gpu {
    /// Opens a device and makes a stream.
    ///
    /// # Errors
    /// [`crate::Error::Cuda`] with what is missing or what the driver says.
    pub fn open(ordinal: usize) -> Result<Self> {
        let device = Device::open(ordinal)?;
        Ok(Self {
            kernels: Arc::new(Kernels::new(&device)?),
            stream: Arc::new(Stream::new(&device)?),
            device,
        })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The stream that all work is queued in.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// True for the software device of the tests: its memory is the processor's own, and networks
    /// run on the processor. No GPU has that name (plugins/core/cuda/fake).
    pub(crate) fn is_software(&self) -> bool {
        self.device.name().starts_with("stand-in ")
    }
}
