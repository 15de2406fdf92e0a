//! The one error type of the crate.

use gstneural_pixels::PixelError;

/// Why CUDA cannot be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// There is no driver library.
    #[error("no NVIDIA driver: libcuda.so.1 is not installed")]
    NoLibrary,
    /// The driver is too old, or something else has its name.
    #[error("libcuda.so.1 has no {0}: a driver for CUDA 11.2 or newer is needed")]
    NoSymbol(&'static str),
    /// The driver is there and refuses to start.
    #[error("the NVIDIA driver does not start: {name} ({code})")]
    NoStart {
        /// CUDA's number of the error.
        code: u32,
        /// CUDA's name of it.
        name: String,
    },
    /// The driver runs, but no device is there or visible.
    #[error("the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set?)")]
    NoDevice,
    /// Switched off by `GSTNEURAL_CUDA=off`.
    #[error("switched off by GSTNEURAL_CUDA")]
    Off,
}

/// What can go wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// CUDA cannot be used on this machine.
    #[error("CUDA is not available: {0}")]
    Unavailable(#[from] Unavailable),
    /// There is no device of that number.
    #[error("there is no CUDA device {ordinal}; this machine has {count}, counted from 0")]
    NoSuchDevice {
        /// The number that was asked for.
        ordinal: usize,
        /// Devices that are visible.
        count: usize,
    },
    /// The device has no room for an allocation.
    #[error(
        "out of GPU memory: {bytes} bytes more do not fit; use smaller tiles, a smaller batch or fewer streams"
    )]
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// A budget shared by several pipelines is used up, and nobody gave anything back in time.
    #[error("GPU {ordinal}: {what} within the limit were not given back within {waited_ms} ms")]
    Budget {
        /// The device.
        ordinal: usize,
        /// What was wanted: so many bytes, or a slot.
        what: String,
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// A call of the driver failed.
    #[error("CUDA: {call}: {name} ({code})")]
    Driver {
        /// The function of the driver.
        call: &'static str,
        /// CUDA's number of the error.
        code: u32,
        /// CUDA's name of it.
        name: String,
    },
    /// Arguments contradict each other or reach beyond memory.
    #[error("CUDA: {0}")]
    Arguments(String),
    /// A frame or a filter that cannot be.
    #[error(transparent)]
    Pixels(#[from] PixelError),
    /// libgstcuda is missing or refuses.
    #[error("GStreamer's CUDA library: {0}")]
    GstCuda(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

pub(crate) fn arguments<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Arguments(message.into()))
}
