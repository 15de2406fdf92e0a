//! The profiles `intra`, `inter` and `vq`: latents of networks, quantised or as code vectors, after
//! a motion-compensated prediction where there is one.
//!
//! Slices of 64 luma rows are coded without each other: a slice is to the networks a picture of its
//! own. So slices run on threads, and damage stays in its slice until a later frame refers to it.

mod copies;
mod elsewhere;
mod latents;
mod predict;
mod rate;
mod read;
mod slice;
mod stages;
mod vq;

pub use copies::Copying;
pub(crate) use elsewhere::FrameJob;
pub use elsewhere::{BytePlanes, FrameLatents, Synthesiser, check_synthesiser};
pub(crate) use predict::{Predicted, predict};
pub(crate) use rate::Control;
pub use rate::Rate;
pub(crate) use slice::Coder;
pub use stages::Stages;

use std::sync::Arc;

use crate::{
    CodecError, Format, Result,
    bitstream::Chroma,
    nets::{Kind, Model},
};

/// Levels of quality.
pub const LEVELS: u8 = crate::nets::LEVELS as u8;

/// How to code with loss.
#[derive(Debug, Clone)]
pub struct Lossy {
    /// The networks.
    pub model: Arc<Model>,
    /// The quality of frames.
    pub rate: Rate,
    /// Whether every frame is a keyframe (profile `intra`).
    pub intra_only: bool,
    /// Whether latents are coded as indices of code vectors (profile `vq`), which the model must
    /// have.
    pub vq: bool,
    /// Whether a scene change begins with a keyframe.
    pub scene_cuts: bool,
    /// Whether every second frame is one that no other refers to, and can be dropped.
    pub droppable: bool,
    /// Which macroblocks of predicted frames are copied.
    pub copying: Copying,
}

impl Lossy {
    /// Quality 20 with predicted frames, keyframes at scene changes, and copies.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            rate: Rate::Quality(20),
            intra_only: false,
            vq: false,
            scene_cuts: true,
            droppable: false,
            copying: Copying::Better,
        }
    }
}

/// Checks that the networks take frames of a format.
///
/// # Errors
/// [`CodecError::Format`].
pub(crate) fn check_format(format: Format) -> Result<()> {
    if format.chroma == Chroma::C420 && format.depth == 8 {
        return Ok(());
    }
    Err(CodecError::Format {
        found: format.to_string(),
        expected: "8-bit 4:2:0, which the lossy profiles need".into(),
    })
}

/// Checks that frames of `format` can be coded like that.
///
/// # Errors
/// [`CodecError::Format`]; [`CodecError::NoNetworks`] or [`CodecError::NoCodebooks`] if the model
/// cannot encode.
pub(crate) fn check(format: Format, lossy: &Lossy) -> Result<()> {
    check_format(format)?;
    let kinds = if lossy.intra_only {
        &[Kind::Intra][..]
    } else {
        &Kind::ALL
    };
    for &kind in kinds {
        lossy.model.encoder(kind)?;
        if lossy.vq {
            lossy.model.codebooks(kind)?;
        }
    }
    Ok(())
}

/// The step of a level in 1/65536: `2 * 64^(level / 31)`.
fn step(level: u8) -> u64 {
    // 64^(1/31) is 1.1436 in 1/65536.
    (0..level).fold(2 << 16, |s, _| (s * 74_944) >> 16)
}

/// What a bit of a vector is worth in absolute differences at a level: in proportion to the step.
pub(crate) fn search_lambda(level: u8) -> u32 {
    ((step(level) * 4 / 10) >> 16).max(1) as u32
}
