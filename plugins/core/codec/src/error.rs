//! What can go wrong, by name.

use thiserror::Error;

/// Why a frame was not coded or a stream not decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Bytes end before what they announce.
    #[error("{what}: the data ends {missing} byte(s) too early")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// How many bytes are missing, at least.
        missing: usize,
    },
    /// A field has a value that the format does not allow, or that goes over a limit.
    #[error("{what} is {value}, which this format does not allow")]
    Field {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The bytes are not of this format.
    #[error("not a gst-neural stream: it begins with {0:02x?}")]
    Magic([u8; 4]),
    /// A later version of the format.
    #[error(
        "the stream has version {found}; this decoder knows up to {known}: a newer gst-neural is needed"
    )]
    Version {
        /// The version of the stream.
        found: u8,
        /// The newest that is known.
        known: u8,
    },
    /// The stream was made with another model or other tables.
    #[error("the stream needs the model {needed}; this decoder has {have}")]
    Model {
        /// SHA-256 of the model that is needed, in hexadecimal.
        needed: String,
        /// SHA-256 of the model at hand.
        have: String,
    },
    /// The profile is known, but not to this decoder.
    #[error("profile {0} is not supported by this decoder")]
    Profile(&'static str),
    /// The stream has parts that this decoder does not know.
    #[error(
        "the stream has features (flags {0:#04x} of codec_data) that this decoder does not know: a newer gst-neural is needed"
    )]
    Feature(
        /// Flags that are not known.
        u8,
    ),
    /// A checksum does not match.
    #[error("{what}: the checksum is {found:08x}, {stated:08x} is stated")]
    Checksum {
        /// Of what.
        what: &'static str,
        /// What the bytes give.
        found: u32,
        /// What they say.
        stated: u32,
    },
    /// A frequency table that cannot be used.
    #[error("frequency table {table}: {reason}")]
    Table {
        /// Which table of the set.
        table: usize,
        /// Why not.
        reason: &'static str,
    },
    /// A frame whose format is not that of the stream.
    #[error("a frame of {found} in a stream of {expected}")]
    Format {
        /// The frame's format.
        found: String,
        /// The stream's.
        expected: String,
    },
    /// A tensor of a model file that is missing or cannot be used.
    #[error("model file, tensor {name}: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The model has no networks of this kind.
    #[error("the model has no networks for {0}")]
    NoNetworks(&'static str),
    /// The model has no codebooks for this kind of picture.
    #[error(
        "the model has no codebooks for {0} pictures, which profile vq needs: take another model or another profile"
    )]
    NoCodebooks(&'static str),
    /// The networks give other numbers here than where the model was made.
    #[error(
        "the {kind} networks of the model give {found}, {stated} is stated: the file is damaged or was made by a program with other arithmetic"
    )]
    Conformance {
        /// Which networks.
        kind: &'static str,
        /// SHA-256 of their results here, in hexadecimal.
        found: String,
        /// What the model says.
        stated: String,
    },
    /// The device that was to run the networks cannot, or computes something else.
    #[error("the networks cannot run on the device: {0}")]
    Device(
        /// Why not.
        String,
    ),
    /// A setting out of its range.
    #[error("{what} is {value}; it must be {range}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: i64,
        /// What is allowed.
        range: &'static str,
    },
    /// Decoding has not seen a keyframe yet.
    #[error("decoding must start at a keyframe")]
    NoKeyframe,
}

/// A result of this crate.
pub type Result<T, E = CodecError> = std::result::Result<T, E>;
