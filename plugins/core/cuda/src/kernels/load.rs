//! Frames into the network's input.

use gstneural_pixels::{Family, YuvRgb};

use super::{Kernel, Kernels, int, slots};
use crate::{
    device::Stream,
    error::{Error, Result, arguments},
    filter::DeviceFilter,
    frame::DeviceFrame,
    params::{Comp, Load, NO_COLOR, Taps},
    tensor::TensorView,
};

/// Which of R, G, B the network's channels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Three channels: R, G, B.
    Rgb,
    /// Three channels: B, G, R.
    Bgr,
    /// One channel: R (0), G (1) or B (2).
    One(usize),
}

impl Channels {
    /// The colour of each channel, and how many there are.
    pub(crate) fn order(self) -> Result<([u32; 3], usize)> {
        match self {
            Channels::Rgb => Ok(([0, 1, 2], 3)),
            Channels::Bgr => Ok(([2, 1, 0], 3)),
            Channels::One(c) if c < 3 => Ok(([c as u32; 3], 1)),
            Channels::One(c) => arguments(format!("there is no colour {c} of R, G, B")),
        }
    }
}

/// Chroma of the size of luma, or back: see [`DeviceFilter::chroma_up`] and
/// [`DeviceFilter::chroma_down`].
pub type Chroma<'a> = &'a DeviceFilter;

/// Code values of a frame as shares of the greatest.
fn code(frame: &DeviceFrame) -> f32 {
    1.0 / ((1u32 << frame.format().info().depth) - 1) as f32
}

fn corner((x, y): (isize, isize)) -> Result<(i32, i32)> {
    match (i32::try_from(x), i32::try_from(y)) {
        (Ok(x), Ok(y)) if x.unsigned_abs() < 1 << 24 && y.unsigned_abs() < 1 << 24 => Ok((x, y)),
        _ => arguments(format!("a tile at ({x}, {y})")),
    }
}

pub(crate) fn want_channels(view: &TensorView, channels: usize) -> Result<()> {
    if view.channels == channels {
        return Ok(());
    }
    arguments(format!(
        "a tensor of {} channels where {channels} are wanted",
        view.channels
    ))
}

fn want_family(frame: &DeviceFrame, family: Family) -> Result<()> {
    if frame.format().info().family == family {
        return Ok(());
    }
    arguments(format!(
        "a frame of {} is not {family:?}",
        frame.format().info().name
    ))
}

pub(crate) fn rgb(frame: &DeviceFrame) -> Result<[Comp; 3]> {
    want_family(frame, Family::Rgb)?;
    Ok([
        frame.component(0)?,
        frame.component(1)?,
        frame.component(2)?,
    ])
}

impl Kernels {
    /// One component into every channel of `to`: luma, grey, or one of R, G, B. The tile begins at
    /// `at` of the frame and is as large as `to`; beyond the frame its edge is repeated. White
    /// becomes `white`.
    ///
    /// # Errors
    /// If the frame has no such component, or what the driver says.
    pub fn load_component(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        component: usize,
        at: (isize, isize),
        white: f32,
        to: &TensorView,
    ) -> Result<()> {
        let comp = frame.component(component)?;
        let params = Load {
            scale: white * code(frame),
            ..self.load(&[comp], at, white, to)?
        };
        // SAFETY: the frame and the tensor were checked when they were made.
        unsafe { self.launch(stream, Kernel::LoadSame, &params, (to.width, to.height, 1)) }
    }

    /// R, G and B of an RGB frame into the channels of `to`; otherwise as [`Self::load_component`].
    ///
    /// # Errors
    /// If the frame is not RGB, the channels do not fit, or what the driver says.
    pub fn load_rgb(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        channels: Channels,
        at: (isize, isize),
        white: f32,
        to: &TensorView,
    ) -> Result<()> {
        let (order, count) = channels.order()?;
        want_channels(to, count)?;
        let comps = rgb(frame)?;
        let comps = order.map(|c| comps[c as usize]);
        let params = Load {
            scale: white * code(frame),
            ..self.load(&comps, at, white, to)?
        };
        let size = (to.width, to.height, count);
        // SAFETY: the frame and the tensor were checked when they were made.
        unsafe { self.launch(stream, Kernel::LoadEach, &params, size) }
    }

    /// Luma of an RGB frame into every channel of `to`; otherwise as [`Self::load_component`].
    ///
    /// # Errors
    /// If the frame is not RGB, or what the driver says.
    pub fn load_luma_of_rgb(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        at: (isize, isize),
        white: f32,
        to: &TensorView,
    ) -> Result<()> {
        let info = frame.format().info();
        let params = Load {
            color: YuvRgb::new(&frame.color(), info.depth).coefficients(),
            ..self.load(&rgb(frame)?, at, white, to)?
        };
        let params = Load {
            scale: code(frame),
            ..params
        };
        let size = (to.width, to.height, 1);
        // SAFETY: the frame and the tensor were checked when they were made.
        unsafe { self.launch(stream, Kernel::LoadLumaOfRgb, &params, size) }
    }

    /// A Y'CbCr frame as RGB into the channels of `to`, by the frame's matrix, range and siting;
    /// otherwise as [`Self::load_component`]. `up` is [`DeviceFilter::chroma_up`] of the frame's
    /// format and size.
    ///
    /// # Errors
    /// If the frame is not Y'CbCr, the channels or `up` do not fit, or what the driver says.
    #[allow(clippy::too_many_arguments)]
    pub fn load_rgb_of_yuv(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        up: Chroma<'_>,
        channels: Channels,
        at: (isize, isize),
        white: f32,
        to: &TensorView,
    ) -> Result<()> {
        want_family(frame, Family::Yuv)?;
        let (order, count) = channels.order()?;
        want_channels(to, count)?;
        if up.src_size() != frame.component_size(1)? || up.dst_size() != frame.size() {
            return arguments("the chroma filter is for frames of another size");
        }
        let comps = [
            frame.component(0)?,
            frame.component(1)?,
            frame.component(2)?,
        ];
        let (across, down) = up.raw();
        let info = frame.format().info();
        let params = Load {
            color: YuvRgb::new(&frame.color(), info.depth).coefficients(),
            across,
            down,
            order,
            scale: code(frame),
            ..self.load(&comps, at, white, to)?
        };
        let size = (to.width, to.height, 1);
        // SAFETY: the frame and the tensor were checked when they were made, and the filter above.
        unsafe { self.launch(stream, Kernel::LoadRgbOfYuv, &params, size) }
    }

    fn load(
        &self,
        comps: &[Comp],
        at: (isize, isize),
        white: f32,
        to: &TensorView,
    ) -> Result<Load> {
        if !white.is_finite() {
            return Err(Error::Arguments(format!("a white of {white}")));
        }
        let (x, y) = corner(at)?;
        Ok(Load {
            src: slots(comps)?,
            dst: to.raw,
            color: NO_COLOR,
            across: Taps::default(),
            down: Taps::default(),
            x,
            y,
            w: int(to.width)?,
            h: int(to.height)?,
            channels: int(to.channels)?,
            order: [0; 3],
            scale: 0.0,
            white,
        })
    }
}
