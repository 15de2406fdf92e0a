//! Element types and layouts of network inputs and outputs.

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// Unsigned bytes, 0..=255.
    U8,
}

impl ElementType {
    /// From ONNX's `TensorProto.DataType`.
    pub(crate) fn from_onnx(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::F32),
            2 => Some(Self::U8),
            10 => Some(Self::F16),
            _ => None,
        }
    }

    /// ONNX's `TensorProto.DataType`.
    pub(crate) fn to_onnx(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::F16 => 10,
        }
    }
}

/// The order of a tensor's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}
