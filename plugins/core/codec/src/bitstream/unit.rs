//! Access units: the bytes of one frame.

use super::{Reader, flag};
use crate::{CodecError, Result};

/// Slices that a unit can have: 16384 rows in slices of 16.
pub const MAX_SLICES: usize = 1024;
/// The greatest QP.
pub const MAX_QP: u8 = 63;
/// First byte of a unit, so that something else is not taken for one.
const MARK: u8 = 0xA7;
/// Bytes before the slice lengths.
const FIXED: usize = 16;
/// Flag: the CRC of the reconstruction is there.
const HAS_CRC: u8 = 1;
/// Flag: a layer follows the slices.
const HAS_LAYER: u8 = 2;
/// Flag of the layer: it refers to the frame before.
const REFERS: u8 = 2;
/// Bytes of the layer's head.
const LAYER_HEAD: usize = 8;

/// What a frame is predicted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameType {
    /// Nothing: decoding can start here, and frames after it need nothing before it.
    Key,
    /// One frame, or two.
    Predicted,
    /// As [`Self::Predicted`], and no other frame needs this one.
    Droppable,
}

impl FrameType {
    fn from_byte(b: u8) -> Option<Self> {
        match b {
            0 => Some(Self::Key),
            1 => Some(Self::Predicted),
            2 => Some(Self::Droppable),
            _ => None,
        }
    }
}

/// What the frame of a unit is predicted from, without looking at the rest of it; None if this is no
/// unit.
pub fn frame_type(unit: &[u8]) -> Option<FrameType> {
    match unit {
        [MARK, kind, ..] => FrameType::from_byte(*kind),
        _ => None,
    }
}

/// The head of an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitInfo {
    /// What the frame is predicted from.
    pub frame_type: FrameType,
    /// Position in the order of display, modulo 2^32.
    pub number: u32,
    /// How far before (positive) or after (negative) this frame the references are displayed; 0: there is none.
    pub references: [i8; 2],
    /// Quality; in the lossless profile the greatest error of a sample.
    pub qp: u8,
    /// CRC-32 of the reconstruction, if the encoder put it there.
    pub picture_crc: Option<u32>,
    /// What the layer is, if there is one.
    pub layer: Option<LayerInfo>,
}

/// The head of the layer that makes a lossy picture lossless, or near it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerInfo {
    /// The greatest error of a sample, 0 to [`MAX_QP`].
    pub near: u8,
    /// Whether it refers to the reference frame's picture with its own layer. Not in keyframes.
    pub refers: bool,
    /// CRC-32 of the picture with the layer, if the encoder put it there.
    pub picture_crc: Option<u32>,
}

/// The coded form of some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<'a> {
    /// The bytes, damaged or not.
    pub data: &'a [u8],
    /// Whether its CRC matches.
    pub intact: bool,
}

/// A slice of the layer. Its CRC is only looked at by [`Self::intact`]: leaving the layer out costs
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSlice<'a> {
    /// The bytes, damaged or not.
    pub data: &'a [u8],
    /// Its CRC, if no byte is missing.
    crc: Option<u32>,
}

impl LayerSlice<'_> {
    /// Whether its CRC matches.
    pub fn intact(&self) -> bool {
        self.crc == Some(crc32fast::hash(self.data))
    }
}

/// A parsed access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit<'a> {
    /// The head.
    pub info: UnitInfo,
    /// The slices from top to bottom.
    pub slices: Vec<Slice<'a>>,
    /// The slices of the layer, as many as [`Self::slices`], or none.
    pub layer: Vec<LayerSlice<'a>>,
}

impl UnitInfo {
    /// The bytes of a unit with these slices and no layer.
    ///
    /// # Errors
    /// [`CodecError::Setting`] if there are none, or more than [`MAX_SLICES`].
    pub fn write<T: AsRef<[u8]>>(&self, slices: &[T]) -> Result<Vec<u8>> {
        let info = Self {
            layer: None,
            ..*self
        };
        info.write_layered(slices, &[])
    }

    /// The bytes of a unit with these slices and, if [`Self::layer`] is there, those of the layer.
    ///
    /// # Errors
    /// [`CodecError::Setting`] if there are none, more than [`MAX_SLICES`], or not as many of the
    /// layer as there must be.
    pub fn write_layered<T: AsRef<[u8]>>(&self, slices: &[T], layer: &[T]) -> Result<Vec<u8>> {
        let setting = |what, value: usize, range| CodecError::Setting {
            what,
            value: value as i64,
            range,
        };
        if slices.is_empty() || slices.len() > MAX_SLICES {
            return Err(setting("number of slices", slices.len(), "1 to 1024"));
        }
        if layer.len() != self.layer.map_or(0, |_| slices.len()) {
            let range = "that of the other slices, or 0 without a layer";
            return Err(setting("number of slices of the layer", layer.len(), range));
        }
        let all = || slices.iter().chain(layer).map(AsRef::as_ref);
        let bytes: usize = all().map(|s| s.len() + 8).sum();
        let mut out = Vec::with_capacity(FIXED + LAYER_HEAD + 4 + bytes);
        let flags =
            flag(self.picture_crc.is_some(), HAS_CRC) | flag(self.layer.is_some(), HAS_LAYER);
        out.extend([MARK, self.frame_type as u8, self.qp, flags]);
        out.extend(self.number.to_le_bytes());
        out.extend(self.references.map(|r| r as u8));
        out.extend((slices.len() as u16).to_le_bytes());
        out.extend(self.picture_crc.unwrap_or(0).to_le_bytes());
        let index = |out: &mut Vec<u8>, slices: &[T]| {
            for s in slices {
                out.extend((s.as_ref().len() as u32).to_le_bytes());
                out.extend(crc32fast::hash(s.as_ref()).to_le_bytes());
            }
        };
        index(&mut out, slices);
        if let Some(info) = self.layer {
            let flags = flag(info.picture_crc.is_some(), HAS_CRC) | flag(info.refers, REFERS);
            out.extend([info.near, flags, 0, 0]);
            out.extend(info.picture_crc.unwrap_or(0).to_le_bytes());
            index(&mut out, layer);
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        for s in all() {
            out.extend(s);
        }
        Ok(out)
    }
}

impl<'a> AccessUnit<'a> {
    /// Reads a unit. Damage in slices is noted ([`Slice::intact`]); a unit that ends early has its
    /// last slices shortened and not intact.
    ///
    /// # Errors
    /// If the head is damaged: [`CodecError::Truncated`], [`CodecError::Checksum`],
    /// [`CodecError::Field`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        Self::parse_into(bytes, Lists::default())
    }

    /// As [`Self::parse`], in the memory of another unit's lists.
    pub(crate) fn parse_into(bytes: &'a [u8], lists: Lists<'a>) -> Result<Self> {
        let mut r = Reader::new(bytes, "access unit");
        let [mark, frame_type, qp, flags] = r.array()?;
        let bad = |what, value: u64| CodecError::Field { what, value };
        if mark != MARK {
            return Err(bad("first byte of an access unit", mark.into()));
        }
        let number = r.u32()?;
        let references = r.array::<2>()?.map(|b| b as i8);
        let count = usize::from(r.u16()?);
        if count == 0 || count > MAX_SLICES {
            return Err(bad("number of slices", count as u64));
        }
        let picture_crc = r.u32()?;
        debug_assert_eq!(r.taken().len(), FIXED);
        let mut index = Reader::new(r.take(8 * count)?, "slice index");
        let layer = match flags & HAS_LAYER {
            0 => None,
            _ => {
                let head = LayerHead::read(&mut r)?;
                Some((
                    head,
                    Reader::new(r.take(8 * count)?, "slice index of the layer"),
                ))
            }
        };
        let found = crc32fast::hash(r.taken());
        let stated = r.u32()?;
        if found != stated {
            return Err(CodecError::Checksum {
                what: "head of an access unit",
                found,
                stated,
            });
        }
        let frame_type =
            FrameType::from_byte(frame_type).ok_or(bad("frame type", frame_type.into()))?;
        if flags & !(HAS_CRC | HAS_LAYER) != 0 {
            return Err(bad("flags of an access unit", flags.into()));
        }
        if qp > MAX_QP {
            return Err(bad("QP", qp.into()));
        }
        let [first, second] = references;
        if (frame_type == FrameType::Key) != (first == 0) || (first == 0 && second != 0) {
            return Err(bad(
                "reference",
                u64::from(first as u8) << 8 | u64::from(second as u8),
            ));
        }
        let picture_crc = (flags & HAS_CRC != 0).then_some(picture_crc);
        let (head, layer_index) = layer.unzip();
        let info = UnitInfo {
            frame_type,
            number,
            references,
            qp,
            picture_crc,
            layer: match head {
                Some(head) => Some(head.check(frame_type)?),
                None => None,
            },
        };
        let mut next = |index: &mut Reader<'_>| -> Result<_> {
            let (length, crc) = (index.u32()? as usize, index.u32()?);
            let data = r.take(length.min(r.rest().len()))?;
            Ok((data, (data.len() == length).then_some(crc)))
        };
        let Lists {
            mut slices,
            mut layer,
        } = lists;
        slices.reserve_exact(count);
        for _ in 0..count {
            let (data, crc) = next(&mut index)?;
            slices.push(Slice {
                data,
                intact: crc == Some(crc32fast::hash(data)),
            });
        }
        if let Some(mut index) = layer_index {
            layer.reserve_exact(count);
            for _ in 0..count {
                let (data, crc) = next(&mut index)?;
                layer.push(LayerSlice { data, crc });
            }
        }
        r.end()?;
        Ok(Self {
            info,
            slices,
            layer,
        })
    }
}

/// Empty lists of slices, for the memory that they have.
#[derive(Debug, Default)]
pub(crate) struct Lists<'a> {
    slices: Vec<Slice<'a>>,
    layer: Vec<LayerSlice<'a>>,
}

impl Lists<'_> {
    /// The lists of a unit that is no longer needed, for one that lives elsewhere: collecting what
    /// no item is in keeps the memory.
    pub(crate) fn of(unit: AccessUnit<'_>) -> Lists<'static> {
        let AccessUnit {
            mut slices,
            mut layer,
            ..
        } = unit;
        slices.clear();
        layer.clear();
        let nothing: Slice<'static> = Slice {
            data: &[],
            intact: false,
        };
        let no_layer: LayerSlice<'static> = LayerSlice {
            data: &[],
            crc: None,
        };
        Lists {
            slices: slices.into_iter().map(|_| nothing.clone()).collect(),
            layer: layer.into_iter().map(|_| no_layer.clone()).collect(),
        }
    }
}

/// The layer's head as it stands there.
struct LayerHead {
    near: u8,
    flags: u8,
    reserved: u16,
    crc: u32,
}

impl LayerHead {
    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let [near, flags] = r.array()?;
        Ok(Self {
            near,
            flags,
            reserved: r.u16()?,
            crc: r.u32()?,
        })
    }

    fn check(&self, frame_type: FrameType) -> Result<LayerInfo> {
        let bad = |what, value: u64| Err(CodecError::Field { what, value });
        if self.near > MAX_QP {
            return bad("error that a layer allows", self.near.into());
        }
        let refers = self.flags & REFERS != 0;
        let unknown = self.flags & !(HAS_CRC | REFERS) != 0 || self.reserved != 0;
        if unknown || (refers && frame_type == FrameType::Key) {
            return bad("flags of a layer", self.flags.into());
        }
        Ok(LayerInfo {
            near: self.near,
            refers,
            picture_crc: (self.flags & HAS_CRC != 0).then_some(self.crc),
        })
    }
}

/// The unit without its layer: what a decoder shows that has no use for it, in fewer bytes. The
/// slices stay as they are, damaged ones included; a unit without a layer comes back whole.
///
/// # Errors
/// Those of [`AccessUnit::parse`].
pub fn without_layer(unit: &[u8]) -> Result<Vec<u8>> {
    let parsed = AccessUnit::parse(unit)?;
    if parsed.info.layer.is_none() {
        return Ok(unit.to_vec());
    }
    let count = parsed.slices.len();
    let head = FIXED + 8 * count;
    let after = head + LAYER_HEAD + 8 * count + 4;
    let slices: usize = parsed.slices.iter().map(|s| s.data.len()).sum();
    let parts = (unit.get(..head), unit.get(after..after + slices));
    let (Some(head), Some(slices)) = parts else {
        // A unit that was parsed has them.
        return Err(CodecError::Truncated {
            what: "access unit",
            missing: 1,
        });
    };
    let mut out = head.to_vec();
    if let Some(flags) = out.get_mut(3) {
        *flags &= !HAS_LAYER;
    }
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out.extend(slices);
    Ok(out)
}
