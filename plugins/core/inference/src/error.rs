//! The errors of this crate: each says what, where and what to do.

use std::path::PathBuf;

use gstneural_pixels::PixelError;

/// What can go wrong between a model's name and an upscaled frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No ONNX Runtime library was found or it could not be loaded.
    #[error(
        "ONNX Runtime could not be loaded: {0}; run packaging/setup.sh or set ORT_DYLIB_PATH to libonnxruntime.so"
    )]
    Runtime(String),
    /// A shipped name that is in none of the model folders.
    #[error(
        "no model named \"{name}\" in {searched}; `gst-neural models list` shows what is there, or give the path of an .onnx file"
    )]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The folders looked into.
        searched: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that is no usable ONNX model.
    #[error("{path} is not a usable ONNX model: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Metadata that is missing or contradicts the network.
    #[error("{path}: {reason}")]
    Metadata {
        /// The model or its .modelinfo file.
        path: PathBuf,
        /// Which key, and what is wrong.
        reason: String,
    },
    /// A frame size, format or option that this model cannot serve.
    #[error("{0}")]
    Unsupported(String),
    /// A device that was asked for and cannot be had.
    #[error(
        "device={device} cannot be used: {reason}; it needs an NVIDIA GPU with its driver and ONNX Runtime with that provider (Python's onnxruntime-gpu; ORT_DYLIB_PATH says where), or use device=auto or device=cpu"
    )]
    Device {
        /// Its name.
        device: &'static str,
        /// What the runtime says.
        reason: String,
    },
    /// ONNX Runtime refused or failed a run.
    #[error("inference failed: {0}")]
    Inference(String),
    /// CUDA is missing, or a device refused.
    #[error(transparent)]
    Cuda(#[from] gstneural_cuda::Error),
    /// The pixel kernels refused a frame.
    #[error(transparent)]
    Pixels(#[from] PixelError),
}

impl Error {
    /// True if a device's memory was not enough.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Cuda(
                gstneural_cuda::Error::OutOfMemory { .. } | gstneural_cuda::Error::Budget { .. },
            ) => true,
            // What ONNX Runtime's arena and CUDA's libraries say of it.
            Self::Inference(reason) | Self::Device { reason, .. } => {
                let reason = reason.to_lowercase();
                ["out of memory", "failed to allocate memory", "alloc_failed"]
                    .iter()
                    .any(|text| reason.contains(text))
            }
            _ => false,
        }
    }

    /// An [`Error::Device`] for a machine without a GPU.
    pub fn no_gpu(processor: crate::Processor) -> Self {
        Self::Device {
            device: processor.name(),
            reason: "there is no NVIDIA GPU, or its driver is not loaded".into(),
        }
    }

    /// An [`Error::Inference`] from a message of the runtime.
    pub(crate) fn inference(e: impl std::fmt::Display) -> Self {
        Self::Inference(e.to_string())
    }
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
