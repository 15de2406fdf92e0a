//! The one error type of the crate.

use gstneural_pixels::{PixelError, PixelFormat};

/// Why something could not be measured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// A format that no metric here takes.
    #[error("{name} cannot be measured: convert to 8- or 10-bit Y'CbCr or to GRAY8 first", name = .0.info().name)]
    Format(PixelFormat),
    /// Reference and distorted differ in depth or chroma subsampling.
    #[error(
        "reference is {reference}, distorted is {distorted}: depth and chroma subsampling must be the same; convert one of them",
        reference = .reference.info().name, distorted = .distorted.info().name
    )]
    FormatMismatch {
        /// Format of the reference.
        reference: PixelFormat,
        /// Format of the distorted frame.
        distorted: PixelFormat,
    },
    /// Reference and distorted differ in size and scaling was not asked for.
    #[error(
        "reference is {}x{}, distorted is {}x{}: ask for scaling (scale=bicubic or lanczos) or scale before measuring",
        .reference.0, .reference.1, .distorted.0, .distorted.1
    )]
    SizeMismatch {
        /// Width and height of the reference.
        reference: (usize, usize),
        /// Width and height of the distorted frame.
        distorted: (usize, usize),
    },
    /// The reference changed its format or size in mid-stream.
    #[error("the reference changed from {0} to {1} in mid-stream")]
    ReferenceChanged(String, String),
    /// The frame is too small for a metric.
    #[error("{width}x{height} is too small for {metric}, which needs at least {least}x{least}")]
    TooSmall {
        /// The metric's name.
        metric: &'static str,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The least width and height.
        least: usize,
    },
    /// A metric needs chroma and the format has none, or the like.
    #[error("{metric} cannot be measured on {name}", name = .format.info().name)]
    Unsupported {
        /// The metric's name.
        metric: &'static str,
        /// The format of the frames.
        format: PixelFormat,
    },
    /// A name that is no metric.
    #[error("there is no metric \"{name}\"; there are {known}")]
    UnknownMetric {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A limit that cannot be read.
    #[error("\"{text}\" is no limit: {reason}")]
    Limit {
        /// The limit as it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A VMAF model that is neither built in nor a readable file.
    #[error("VMAF model \"{name}\": {reason}")]
    Model {
        /// What was asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// libvmaf failed.
    #[error("libvmaf: {what} failed (error {code})")]
    Vmaf {
        /// What was tried.
        what: String,
        /// libvmaf's error code, a negative errno.
        code: i32,
    },
    /// The crate was built without libvmaf.
    #[error("{metric} needs libvmaf, and this build has none (cargo feature \"vmaf\")")]
    NoVmaf {
        /// The metric's name.
        metric: &'static str,
    },
    /// The crate was built without ONNX Runtime.
    #[error("{metric} needs ONNX Runtime, and this build has none (cargo feature \"lpips\")")]
    NoRuntime {
        /// The metric's name.
        metric: &'static str,
    },
    /// A metric that is a network, and no file of one.
    #[error(
        "{metric} needs a network as an ONNX file, which does not come with gst-neural (lpips-model=FILE); for LPIPS, models/training/lpips.py makes one of the published weights, and docs/quality.md says where these are"
    )]
    NoNetwork {
        /// The metric's name.
        metric: &'static str,
    },
    /// A network that does not say that it holds the published weights of LPIPS.
    #[error(
        "{path} is no LPIPS: as its weights it states {weights}, not the published ones (lpips-v0.1-...); make it with models/training/lpips.py, or measure it as net-distance"
    )]
    NotLpips {
        /// The file.
        path: String,
        /// What its metadata says of its weights.
        weights: String,
    },
    /// A network cannot be loaded or run.
    #[error("{reason}")]
    Network {
        /// What is wrong, with the file's name.
        reason: String,
    },
    /// A file cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A frame could not be described or scaled.
    #[error(transparent)]
    Pixel(#[from] PixelError),
}
