//! The profiles `intra` and `inter`: quantised latents of networks, after a motion-compensated
//! prediction where there is one.
//!
//! Slices of 64 luma rows are coded without each other: a slice is to the networks a picture of its
//! own. So slices run on threads, and damage stays in its slice until a later frame refers to it.

mod latents;
mod rate;
mod slice;

pub use rate::Rate;
pub(crate) use rate::Control;
pub(crate) use slice::{Coder, Predicted, predict};

use std::sync::Arc;

use crate::nets::Model;

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
    /// Whether a scene change begins with a keyframe.
    pub scene_cuts: bool,
    /// Whether every second frame is one that no other refers to, and can be dropped.
    pub droppable: bool,
}

impl Lossy {
    /// Quality 20 with predicted frames and keyframes at scene changes.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            rate: Rate::Quality(20),
            intra_only: false,
            scene_cuts: true,
            droppable: false,
        }
    }
}
