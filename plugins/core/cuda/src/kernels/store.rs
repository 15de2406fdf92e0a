//! The network's output into frames.

use gstneural_pixels::{Family, YuvRgb};

use super::{Channels, Chroma, Kernel, Kernels, int, load::want_channels, slots};
use crate::{
    buffer::DeviceBuffer,
    device::Stream,
    error::{Result, arguments},
    frame::DeviceFrame,
    params::{Comp, Gather, NO_COLOR, Store, Taps},
    tensor::{Element, TensorView},
};

/// What is taken out of a tensor, and where it goes. All in pixels of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First column and row of the tensor that are taken.
    pub from: (usize, usize),
    /// Where they go.
    pub to: (usize, usize),
    /// Columns and rows.
    pub size: (usize, usize),
}

impl Region {
    /// All of a result of `width` x `height`, from the tensor's corner to the frame's.
    pub fn whole(width: usize, height: usize) -> Self {
        Self {
            from: (0, 0),
            to: (0, 0),
            size: (width, height),
        }
    }

    fn check(&self, src: (usize, usize), dst: (usize, usize)) -> Result<()> {
        let within = |at: usize, n: usize, all: usize| at.checked_add(n).is_some_and(|e| e <= all);
        let fits = |at: (usize, usize), all: (usize, usize)| {
            within(at.0, self.size.0, all.0) && within(at.1, self.size.1, all.1)
        };
        if fits(self.from, src) && fits(self.to, dst) {
            return Ok(());
        }
        arguments(format!("{self:?} reaches beyond {src:?} or {dst:?}"))
    }
}

fn greatest(frame: &DeviceFrame) -> f32 {
    ((1u32 << frame.format().info().depth) - 1) as f32
}

impl Kernels {
    /// Rounds a channel of `from` into each of some components of a frame: `pairs` are (channel,
    /// component), three at most, of components of one size. `white` is the network's.
    ///
    /// # Errors
    /// If a channel or component does not exist, the region reaches beyond one of the two, or what
    /// the driver says.
    pub fn store(
        &self,
        stream: &Stream,
        from: &TensorView,
        pairs: &[(usize, usize)],
        white: f32,
        frame: &DeviceFrame,
        region: Region,
    ) -> Result<()> {
        let mut comps = [Comp::default(); 3];
        let mut order = [0; 3];
        if pairs.len() > comps.len() {
            return arguments("more than three components at once");
        }
        for ((comp, slot), (channel, component)) in comps.iter_mut().zip(&mut order).zip(pairs) {
            if *channel >= from.channels {
                return arguments(format!("the tensor has no channel {channel}"));
            }
            *comp = frame.component(*component)?;
            *slot = *channel as u32;
            let size = (comp.width as usize, comp.height as usize);
            region.check((from.width, from.height), size)?;
        }
        let params = Store {
            scale: greatest(frame) / white,
            order,
            ..blank(from, comps, region)?
        };
        let size = (region.size.0, region.size.1, pairs.len());
        // SAFETY: frame and tensor were checked when they were made, and the region against both.
        unsafe { self.launch(stream, Kernel::StoreEach, &params, size) }
    }

    /// R, G, B of `from`, a tensor of a whole frame, as Y'CbCr by the frame's matrix, range and
    /// siting. `down` is [`DeviceFilter::chroma_down`](crate::DeviceFilter::chroma_down) of the
    /// frame's format and size.
    ///
    /// # Errors
    /// If the frame is not Y'CbCr, the tensor is smaller than it, `down` is for another size, or
    /// what the driver says.
    pub fn store_rgb_as_yuv(
        &self,
        stream: &Stream,
        from: &TensorView,
        channels: Channels,
        white: f32,
        frame: &DeviceFrame,
        down: Chroma<'_>,
    ) -> Result<()> {
        if frame.format().info().family != Family::Yuv {
            return arguments("not a frame of Y'CbCr");
        }
        let (order, count) = channels.order()?;
        if count != 3 {
            return arguments("R, G and B are wanted at once");
        }
        want_channels(from, 3)?;
        let (width, height) = frame.size();
        let region = Region::whole(width, height);
        region.check((from.width, from.height), (width, height))?;
        let chroma = frame.component_size(1)?;
        if down.src_size() != (width, height) || down.dst_size() != chroma {
            return arguments("the chroma filter is for frames of another size");
        }
        let comps = [
            frame.component(0)?,
            frame.component(1)?,
            frame.component(2)?,
        ];
        let (across, below) = down.raw();
        let depth = frame.format().info().depth;
        let params = Store {
            color: YuvRgb::new(&frame.color(), depth).coefficients(),
            across,
            down: below,
            // Which channel holds R, G and B: its own inverse.
            order,
            scale: greatest(frame),
            inverse: 1.0 / white,
            ..blank(from, comps, region)?
        };
        // SAFETY: frame and tensor were checked when they were made; the filter fits both.
        unsafe { self.launch(stream, Kernel::StoreLumaOfRgb, &params, (width, height, 1))? };
        let params = Store {
            w: int(chroma.0)?,
            h: int(chroma.1)?,
            ..params
        };
        let size = (chroma.0, chroma.1, 1);
        // SAFETY: as above; chroma is as large as the filter's result.
        unsafe { self.launch(stream, Kernel::StoreChromaOfRgb, &params, size) }
    }

    /// A tile's channels, from `channels.0` on, `channels.2` of them, into planes of the whole
    /// frame, from plane `channels.1` on. With `weights`, of the region's columns and rows, it is
    /// added by their product (blended tiles: clear the planes first); else it is copied.
    ///
    /// # Errors
    /// If the planes are not f32, or channels, the region or the weights do not fit, or what the
    /// driver says.
    pub fn gather(
        &self,
        stream: &Stream,
        from: &TensorView,
        to: &TensorView,
        channels: (usize, usize, usize),
        region: Region,
        weights: Option<(&DeviceBuffer, &DeviceBuffer)>,
    ) -> Result<()> {
        let (first, plane, count) = channels;
        let has = |at: usize, all: usize| at.checked_add(count).is_some_and(|e| e <= all);
        if !has(first, from.channels) || !has(plane, to.channels) {
            return arguments(format!("channels {channels:?} do not exist"));
        }
        if to.raw.element != Element::F32 as u32 {
            return arguments("planes of a frame are f32");
        }
        region.check((from.width, from.height), (to.width, to.height))?;
        if let Some((across, down)) = weights
            && (across.bytes() < 4 * region.size.0 || down.bytes() < 4 * region.size.1)
        {
            return arguments("fewer weights than columns or rows");
        }
        let params = Gather {
            src: from.raw,
            dst: to.raw,
            across: weights.map_or(0, |w| w.0.address()),
            down: weights.map_or(0, |w| w.1.address()),
            from_x: int(region.from.0)?,
            from_y: int(region.from.1)?,
            to_x: int(region.to.0)?,
            to_y: int(region.to.1)?,
            w: int(region.size.0)?,
            h: int(region.size.1)?,
            from_channel: int(first)?,
            to_channel: int(plane)?,
        };
        let kernel = match weights {
            Some(_) => Kernel::GatherWeighted,
            None => Kernel::Gather,
        };
        let size = (region.size.0, region.size.1, count);
        // SAFETY: tensors were checked when they were made, region and weights above.
        unsafe { self.launch(stream, kernel, &params, size) }
    }
}

fn blank(from: &TensorView, comps: [Comp; 3], region: Region) -> Result<Store> {
    Ok(Store {
        src: from.raw,
        dst: slots(&comps)?,
        color: NO_COLOR,
        across: Taps::default(),
        down: Taps::default(),
        from_x: int(region.from.0)?,
        from_y: int(region.from.1)?,
        to_x: int(region.to.0)?,
        to_y: int(region.to.1)?,
        w: int(region.size.0)?,
        h: int(region.size.1)?,
        order: [0; 3],
        scale: 0.0,
        bias: 0.0,
        inverse: 0.0,
        unused: 0,
    })
}
