//! The bytes around the entropy coder: `codec_data` and access units, as `docs/bitstream.md` has
//! them.

mod bytes;
mod header;
mod unit;

pub use bytes::Reader;
pub use header::{
    Chroma, Colour, HEADER_BYTES, Header, MAX_SIDE, ModelHash, Profile, VERSION, hex,
};
pub(crate) use unit::Lists;
pub use unit::{
    AccessUnit, FrameType, LayerInfo, LayerSlice, MAX_QP, MAX_SLICES, Slice, UnitInfo, frame_type,
    without_layer,
};

/// A flag's bit if it is set.
fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

#[cfg(test)]
mod tests;
