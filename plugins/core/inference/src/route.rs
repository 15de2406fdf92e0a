//! Which of a frame's components go through the network, and how.

use gstneural_pixels::Family;

use crate::{engine::Mode, info::Channels};

/// How a frame's components meet the network's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Component 0, once or three times.
    Luma,
    /// R, G, B as they are.
    Rgb,
    /// R, G and B one after the other through a luma network.
    EachRgb,
    /// Luma computed from RGB; its difference is added to the upscaled RGB.
    LumaOfRgb,
    /// Y'CbCr to RGB and back.
    RgbOfYuv,
    /// Y'CbCr to RGB and back, R, G and B one after the other through a luma network.
    EachRgbOfYuv,
}

impl Route {
    /// The route for a mode, a format's family and a network's channels.
    pub fn new(mode: Mode, family: Family, channels: Channels) -> Self {
        match (mode, family, channels) {
            (Mode::Luma, Family::Rgb, _) | (Mode::Auto, Family::Rgb, Channels::Luma) => {
                Self::LumaOfRgb
            }
            (_, Family::Gray, _) | (Mode::Luma, ..) | (Mode::Auto, _, Channels::Luma) => Self::Luma,
            (_, Family::Rgb, Channels::Rgb) => Self::Rgb,
            (_, Family::Rgb, Channels::Luma) => Self::EachRgb,
            (_, Family::Yuv, Channels::Rgb) => Self::RgbOfYuv,
            (_, Family::Yuv, Channels::Luma) => Self::EachRgbOfYuv,
        }
    }

    /// True if Y'CbCr is converted to RGB and back.
    pub fn is_by_rgb(self) -> bool {
        matches!(self, Self::RgbOfYuv | Self::EachRgbOfYuv)
    }

    /// True if R, G and B go through the network one after the other.
    pub fn is_one_by_one(self) -> bool {
        matches!(self, Self::EachRgb | Self::EachRgbOfYuv)
    }
}
