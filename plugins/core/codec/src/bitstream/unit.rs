//! Access units: the bytes of one frame.

use super::{Reader, bytes::put_varint, flag};
use crate::{CodecError, Result};

/// Slices that a unit can have: 16384 rows in slices of 16.
pub const MAX_SLICES: usize = 1024;
/// The greatest QP.
pub const MAX_QP: u8 = 63;
/// First byte of a unit, so that something else is not taken for one.
const MARK: u8 = 0xA7;
/// First byte of a compact one.
const COMPACT_MARK: u8 = 0xA6;
/// Bits of the CRC of a slice of a compact unit.
const COMPACT_CRC: u32 = 0xffff;
/// Bytes before the slice lengths.
const FIXED: usize = 16;
/// Flag: the CRC of the reconstruction is there.
const HAS_CRC: u8 = 1;
/// Flag: a layer follows the slices.
const HAS_LAYER: u8 = 2;
/// Flag of a compact unit: there are two references.
const HAS_SECOND: u8 = 4;
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
        [COMPACT_MARK, kind, ..] => FrameType::from_byte(*kind & 3),
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
    /// Whether the head is a short one.
    pub compact: bool,
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

/// A CRC as a unit has it: of a compact one, the lower half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SliceCrc {
    value: u32,
    mask: u32,
}

impl SliceCrc {
    fn matches(self, data: &[u8]) -> bool {
        crc32fast::hash(data) & self.mask == self.value
    }
}

/// A slice of the layer. Its CRC is only looked at by [`Self::intact`]: leaving the layer out costs
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSlice<'a> {
    /// The bytes, damaged or not.
    pub data: &'a [u8],
    /// Its CRC, if no byte is missing.
    crc: Option<SliceCrc>,
}

impl LayerSlice<'_> {
    /// Whether its CRC matches.
    pub fn intact(&self) -> bool {
        self.crc.is_some_and(|crc| crc.matches(self.data))
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
        match self.compact {
            true => self.compact_head(slices, layer, &mut out),
            false => self.head(slices, layer, &mut out),
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        for s in all() {
            out.extend(s);
        }
        Ok(out)
    }

    /// The head up to the index of slices.
    fn start(&self, count: usize, out: &mut Vec<u8>) {
        let flags =
            flag(self.picture_crc.is_some(), HAS_CRC) | flag(self.layer.is_some(), HAS_LAYER);
        out.extend([MARK, self.frame_type as u8, self.qp, flags]);
        out.extend(self.number.to_le_bytes());
        out.extend(self.references.map(|r| r as u8));
        out.extend((count as u16).to_le_bytes());
        out.extend(self.picture_crc.unwrap_or(0).to_le_bytes());
    }

    fn head<T: AsRef<[u8]>>(&self, slices: &[T], layer: &[T], out: &mut Vec<u8>) {
        self.start(slices.len(), out);
        let index = |out: &mut Vec<u8>, slices: &[T]| {
            for s in slices {
                out.extend((s.as_ref().len() as u32).to_le_bytes());
                out.extend(crc32fast::hash(s.as_ref()).to_le_bytes());
            }
        };
        index(out, slices);
        if let Some(info) = self.layer {
            let flags = flag(info.picture_crc.is_some(), HAS_CRC) | flag(info.refers, REFERS);
            out.extend([info.near, flags, 0, 0]);
            out.extend(info.picture_crc.unwrap_or(0).to_le_bytes());
            index(out, layer);
        }
    }

    /// As [`Self::start`], of a compact unit.
    fn compact_start(&self, count: usize, out: &mut Vec<u8>) {
        let [first, second] = self.references.map(|r| r as u8);
        let flags = flag(self.picture_crc.is_some(), HAS_CRC)
            | flag(self.layer.is_some(), HAS_LAYER)
            | flag(second != 0, HAS_SECOND);
        out.extend([COMPACT_MARK, self.frame_type as u8 | flags << 2, self.qp]);
        put_varint(out, self.number);
        if self.frame_type != FrameType::Key {
            out.push(first);
        }
        if second != 0 {
            out.push(second);
        }
        put_varint(out, count as u32);
        if let Some(crc) = self.picture_crc {
            out.extend(crc.to_le_bytes());
        }
        if let Some(info) = self.layer {
            let flags = flag(info.picture_crc.is_some(), HAS_CRC) | flag(info.refers, REFERS);
            out.extend([info.near, flags]);
            if let Some(crc) = info.picture_crc {
                out.extend(crc.to_le_bytes());
            }
        }
    }

    fn compact_head<T: AsRef<[u8]>>(&self, slices: &[T], layer: &[T], out: &mut Vec<u8>) {
        self.compact_start(slices.len(), out);
        for s in slices.iter().chain(layer).map(AsRef::as_ref) {
            put_varint(out, s.len() as u32);
            if !s.is_empty() {
                out.extend((crc32fast::hash(s) as u16).to_le_bytes());
            }
        }
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
        let (head, index) = Head::read(&mut r)?;
        let found = crc32fast::hash(r.taken());
        let stated = r.u32()?;
        if found != stated {
            return Err(CodecError::Checksum {
                what: "head of an access unit",
                found,
                stated,
            });
        }
        let info = head.check()?;
        let [mut index, mut of_layer] = index.map(|i| Reader::new(i, "slice index"));
        let mut next = |index: &mut Reader<'_>| -> Result<_> {
            let (length, crc) = head.entry(index)?;
            let length = length as usize;
            let data = r.take(length.min(r.rest().len()))?;
            Ok((data, (data.len() == length).then_some(crc)))
        };
        let Lists {
            mut slices,
            mut layer,
        } = lists;
        slices.reserve_exact(head.count);
        for _ in 0..head.count {
            let (data, crc) = next(&mut index)?;
            slices.push(Slice {
                data,
                intact: crc.is_some_and(|crc| crc.matches(data)),
            });
        }
        if info.layer.is_some() {
            layer.reserve_exact(head.count);
            for _ in 0..head.count {
                let (data, crc) = next(&mut of_layer)?;
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

/// A unit's head as it stands there.
struct Head {
    compact: bool,
    frame_type: u8,
    qp: u8,
    flags: u8,
    number: u32,
    references: [i8; 2],
    count: usize,
    picture_crc: u32,
    layer: Option<LayerHead>,
}

/// The layer's head as it stands there.
struct LayerHead {
    near: u8,
    flags: u8,
    reserved: u16,
    crc: u32,
}

fn bad(what: &'static str, value: u64) -> CodecError {
    CodecError::Field { what, value }
}

fn count(n: u32) -> Result<usize> {
    match n as usize {
        n @ 1..=MAX_SLICES => Ok(n),
        n => Err(bad("number of slices", n as u64)),
    }
}

impl Head {
    /// Reads all up to the CRC; and the index of slices, and that of the layer's.
    fn read<'a>(r: &mut Reader<'a>) -> Result<(Self, [&'a [u8]; 2])> {
        match r.rest().first() {
            Some(&COMPACT_MARK) => Self::read_compact(r),
            _ => Self::read_long(r),
        }
    }

    /// As [`Self::read`], of a unit that is not compact.
    fn read_long<'a>(r: &mut Reader<'a>) -> Result<(Self, [&'a [u8]; 2])> {
        let [mark, frame_type, qp, flags] = r.array()?;
        if mark != MARK {
            return Err(bad("first byte of an access unit", mark.into()));
        }
        let number = r.u32()?;
        let references = r.array::<2>()?.map(|b| b as i8);
        let count = count(r.u16()?.into())?;
        let picture_crc = r.u32()?;
        debug_assert_eq!(r.taken().len(), FIXED);
        let index = r.take(8 * count)?;
        let (layer, of_layer) = match flags & HAS_LAYER {
            0 => (None, &[][..]),
            _ => (Some(LayerHead::read(r)?), r.take(8 * count)?),
        };
        let head = Self {
            compact: false,
            frame_type,
            qp,
            flags,
            number,
            references,
            count,
            picture_crc,
            layer,
        };
        Ok((head, [index, of_layer]))
    }

    /// As [`Self::read`], of a compact unit.
    fn read_compact<'a>(r: &mut Reader<'a>) -> Result<(Self, [&'a [u8]; 2])> {
        let [_, kind, qp] = r.array()?;
        let (frame_type, flags) = (kind & 3, kind >> 2);
        let number = r.varint()?;
        let mut references = [0; 2];
        if frame_type != FrameType::Key as u8 {
            references[0] = r.u8()? as i8;
        }
        if flags & HAS_SECOND != 0 {
            references[1] = r.u8()? as i8;
        }
        let count = count(r.varint()?)?;
        let picture_crc = if flags & HAS_CRC != 0 { r.u32()? } else { 0 };
        let layer = match flags & HAS_LAYER {
            0 => None,
            _ => Some(LayerHead::read_compact(r)?),
        };
        let head = Self {
            compact: true,
            frame_type,
            qp,
            flags,
            number,
            references,
            count,
            picture_crc,
            layer,
        };
        let mut index = |n: usize| {
            let mut at = r.clone();
            let entries = (0..n).try_for_each(|_| head.entry(&mut at).map(|_| ()));
            entries.and_then(|()| r.take(r.rest().len() - at.rest().len()))
        };
        let of_layer = if head.layer.is_some() { count } else { 0 };
        let index = [index(count)?, index(of_layer)?];
        Ok((head, index))
    }

    /// The next entry of the index: the length of a slice, and its CRC.
    fn entry(&self, index: &mut Reader<'_>) -> Result<(u32, SliceCrc)> {
        let (length, mask) = match self.compact {
            true => (index.varint()?, COMPACT_CRC),
            false => (index.u32()?, u32::MAX),
        };
        let value = match (self.compact, length) {
            // The CRC of nothing.
            (true, 0) => 0,
            (true, _) => index.u16()?.into(),
            (false, _) => index.u32()?,
        };
        Ok((length, SliceCrc { value, mask }))
    }

    /// What it says, if that can be.
    fn check(&self) -> Result<UnitInfo> {
        let frame_type = FrameType::from_byte(self.frame_type)
            .ok_or(bad("frame type", self.frame_type.into()))?;
        let known = HAS_CRC | HAS_LAYER | if self.compact { HAS_SECOND } else { 0 };
        if self.flags & !known != 0 {
            return Err(bad("flags of an access unit", self.flags.into()));
        }
        if self.qp > MAX_QP {
            return Err(bad("QP", self.qp.into()));
        }
        let [first, second] = self.references;
        if (frame_type == FrameType::Key) != (first == 0) || (first == 0 && second != 0) {
            let both = u64::from(first as u8) << 8 | u64::from(second as u8);
            return Err(bad("reference", both));
        }
        Ok(UnitInfo {
            frame_type,
            number: self.number,
            references: self.references,
            qp: self.qp,
            picture_crc: (self.flags & HAS_CRC != 0).then_some(self.picture_crc),
            layer: match &self.layer {
                Some(head) => Some(head.check(frame_type)?),
                None => None,
            },
            compact: self.compact,
        })
    }
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

    fn read_compact(r: &mut Reader<'_>) -> Result<Self> {
        let [near, flags] = r.array()?;
        Ok(Self {
            near,
            flags,
            reserved: 0,
            crc: if flags & HAS_CRC != 0 { r.u32()? } else { 0 },
        })
    }

    fn check(&self, frame_type: FrameType) -> Result<LayerInfo> {
        if self.near > MAX_QP {
            return Err(bad("error that a layer allows", self.near.into()));
        }
        let refers = self.flags & REFERS != 0;
        let unknown = self.flags & !(HAS_CRC | REFERS) != 0 || self.reserved != 0;
        if unknown || (refers && frame_type == FrameType::Key) {
            return Err(bad("flags of a layer", self.flags.into()));
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
    let mut r = Reader::new(unit, "access unit");
    let (head, [index, _]) = Head::read(&mut r)?;
    let info = UnitInfo {
        layer: None,
        ..parsed.info
    };
    let mut out = Vec::new();
    // With CRCs as they stand there, so that what is damaged stays so.
    match head.compact {
        true => info.compact_start(head.count, &mut out),
        false => info.start(head.count, &mut out),
    }
    out.extend(index);
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out.extend(parsed.slices.iter().flat_map(|s| s.data));
    Ok(out)
}
