//! Tensors in device memory, as a network takes and gives them.

use crate::{
    error::{Result, arguments},
    params::Tensor,
};

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// Bytes.
    U8,
}

impl Element {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::F16 => 2,
            Element::U8 => 1,
        }
    }
}

/// Order of a tensor's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Images, channels, rows, columns.
    Nchw,
    /// Images, rows, columns, channels.
    Nhwc,
}

/// A tensor in device memory, not owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceTensor {
    address: u64,
    element: Element,
    order: Order,
    /// N, C, H, W, whatever the order.
    shape: [usize; 4],
}

impl DeviceTensor {
    /// A tensor of `shape` (N, C, H, W, whatever its order) at `address`, with `bytes` bytes.
    ///
    /// # Errors
    /// If the memory is too short or not aligned to elements, or a dimension is 0 or absurd.
    pub fn new(
        address: u64,
        bytes: usize,
        element: Element,
        order: Order,
        shape: [usize; 4],
    ) -> Result<Self> {
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let needed = count.and_then(|n| n.checked_mul(element.bytes()));
        let most = 1 << 24;
        if shape.iter().any(|d| *d == 0 || *d > most) || needed.is_none_or(|n| n > bytes) {
            return arguments(format!(
                "{bytes} bytes are no tensor {shape:?} of {element:?}"
            ));
        }
        if address == 0 || !address.is_multiple_of(element.bytes() as u64) {
            return arguments(format!(
                "{address:#x} is no address of a tensor of {element:?}"
            ));
        }
        Ok(Self {
            address,
            element,
            order,
            shape,
        })
    }

    /// N, C, H, W.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Order of the dimensions.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Type of the elements.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Address of the first element.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Elements in all.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Image `n`, its channels from `first` on, `channels` of them: a frame of a window.
    ///
    /// # Errors
    /// If the tensor does not have them.
    pub fn image(&self, n: usize, first: usize, channels: usize) -> Result<TensorView> {
        let [images, c, h, w] = self.shape;
        if n >= images || channels == 0 || first.checked_add(channels).is_none_or(|e| e > c) {
            return arguments(format!(
                "a tensor {:?} has no image {n} with channels {first}..{first}+{channels}",
                self.shape
            ));
        }
        let (channel, row, col) = match self.order {
            Order::Nchw => (h * w, w, 1),
            Order::Nhwc => (1, w * c, c),
        };
        if u32::try_from(row).is_err() {
            return arguments(format!("rows of {row} elements are too long"));
        }
        let at = n * c * h * w + first * channel;
        Ok(TensorView {
            raw: Tensor {
                data: self.address + (at * self.element.bytes()) as u64,
                channel: channel as i64,
                sub: 0,
                row: row as u32,
                col: col as u32,
                block: 1,
                element: self.element as u32,
            },
            channels,
            width: w,
            height: h,
        })
    }
}

/// One image of a tensor, or some of its channels, as kernels see it.
#[derive(Debug, Clone, Copy)]
pub struct TensorView {
    pub(crate) raw: Tensor,
    pub(crate) channels: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl TensorView {
    /// The same through depth-to-space by `block`: `block * block` times fewer channels, each
    /// `block` times as wide and high. `crd`: channel = c * block * block + dy * block + dx (the
    /// order of PyTorch's PixelShuffle); else (dy * block + dx) * C + c.
    ///
    /// # Errors
    /// If `block` is 0 or the channels are no multiple of its square.
    pub fn shuffled(self, block: usize, crd: bool) -> Result<Self> {
        if block == 1 {
            return Ok(self);
        }
        let squared = block.saturating_mul(block);
        if block == 0 || block > 64 || !self.channels.is_multiple_of(squared) || self.raw.block != 1
        {
            return arguments(format!(
                "{} channels cannot be shuffled by blocks of {block}",
                self.channels
            ));
        }
        let channels = self.channels / squared;
        let distance = self.raw.channel;
        let (channel, sub) = if crd {
            (distance * squared as i64, distance)
        } else {
            (distance, distance * channels as i64)
        };
        Ok(Self {
            raw: Tensor {
                channel,
                sub,
                block: block as u32,
                ..self.raw
            },
            channels,
            width: self.width * block,
            height: self.height * block,
        })
    }

    /// Channels, after depth-to-space.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Columns, after depth-to-space.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows, after depth-to-space.
    pub fn height(&self) -> usize {
        self.height
    }
}
