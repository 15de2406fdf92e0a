//! The model file: named tensors in two sections, one that decoding needs and one that only
//! encoding does.
//!
//! `"GNM1"`, the lengths of both sections (u32), the sections, CRC-32 of all before. A section: u16
//! count, then for each tensor u8 length of the name, the name, u8 type (0: u8, 1: i16, 2: i32), u8
//! number of dimensions, u32 each, and the values. Little endian throughout.

use std::collections::BTreeMap;

use crate::{CodecError, Result, bitstream::Reader};

const MAGIC: [u8; 4] = *b"GNM1";
/// Tensors of a section.
const MAX_TENSORS: u16 = 2048;
/// Bytes of a file: the networks are small, a gigabyte of weights is a mistake or an attack.
const MAX_BYTES: usize = 1 << 26;
const MAX_DIMENSIONS: u8 = 4;

/// A number that a tensor can hold.
pub(super) trait Element: Copy {
    /// The type's number in the file.
    const TYPE: u8;
    /// Its bytes in a tensor.
    const BYTES: usize;
    /// The value of `BYTES` bytes.
    fn read(bytes: &[u8]) -> Self;
    /// Appends its bytes.
    fn write(self, to: &mut Vec<u8>);
}

macro_rules! element {
    ($($type:ty = $number:literal),*) => {
        $(impl Element for $type {
            const TYPE: u8 = $number;
            const BYTES: usize = size_of::<$type>();
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map(Self::from_le_bytes).unwrap_or_default()
            }
            fn write(self, to: &mut Vec<u8>) {
                to.extend(self.to_le_bytes());
            }
        })*
    };
}

element!(u8 = 0, i16 = 1, i32 = 2);

#[derive(Debug)]
struct Tensor<'a> {
    kind: u8,
    dims: Vec<usize>,
    bytes: &'a [u8],
}

/// The tensors of a section by name.
#[derive(Debug)]
pub(super) struct Section<'a> {
    tensors: BTreeMap<&'a str, Tensor<'a>>,
}

/// An error about tensor `name`.
pub(super) fn wrong(name: &str, reason: impl Into<String>) -> CodecError {
    CodecError::Tensor {
        name: name.to_owned(),
        reason: reason.into(),
    }
}

fn field(what: &'static str, value: impl Into<u64>) -> CodecError {
    let value = value.into();
    CodecError::Field { what, value }
}

/// The bytes of both sections.
///
/// # Errors
/// [`CodecError::Magic`], [`CodecError::Truncated`], [`CodecError::Field`],
/// [`CodecError::Checksum`].
pub(super) fn sections(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    if bytes.len() > MAX_BYTES {
        return Err(field("size of the model file", bytes.len() as u64));
    }
    let mut r = Reader::new(bytes, "model file");
    match r.array()? {
        MAGIC => (),
        other => return Err(CodecError::Magic(other)),
    }
    let (decoder, encoder) = (r.u32()? as usize, r.u32()? as usize);
    let decoder = r.take(decoder)?;
    let encoder = r.take(encoder)?;
    let found = crc32fast::hash(r.taken());
    let stated = r.u32()?;
    r.end()?;
    if found != stated {
        let what = "model file";
        return Err(CodecError::Checksum {
            what,
            found,
            stated,
        });
    }
    Ok((decoder, encoder))
}

impl<'a> Section<'a> {
    /// Reads a section; empty bytes are a section without tensors.
    ///
    /// # Errors
    /// [`CodecError::Truncated`], [`CodecError::Field`], [`CodecError::Tensor`].
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        if bytes.is_empty() {
            return Ok(Self { tensors });
        }
        let mut r = Reader::new(bytes, "section of the model file");
        let count = r.u16()?;
        if count > MAX_TENSORS {
            return Err(field("number of tensors", count));
        }
        for _ in 0..count {
            let length = r.u8()?;
            let name = r.take(length.into())?;
            let name = match std::str::from_utf8(name) {
                Ok(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => name,
                _ => return Err(wrong(&name.escape_ascii().to_string(), "not a name")),
            };
            let kind = r.u8()?;
            let size = match kind {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => return Err(wrong(name, format!("type {kind} is not known"))),
            };
            let dimensions = r.u8()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(wrong(name, format!("{dimensions} dimensions")));
            }
            let dims = (0..dimensions).map(|_| Ok(r.u32()? as usize));
            let dims = dims.collect::<Result<Vec<_>>>()?;
            let product = dims.iter().try_fold(size, |n: usize, &d| n.checked_mul(d));
            let bytes = match product {
                Some(n) if n <= MAX_BYTES => r.take(n)?,
                _ => return Err(wrong(name, format!("{dims:?} is too large"))),
            };
            if tensors.insert(name, Tensor { kind, dims, bytes }).is_some() {
                return Err(wrong(name, "there are two"));
            }
        }
        r.end()?;
        Ok(Self { tensors })
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Dimension `i` of a tensor, which has to be 1 to `most`.
    pub(super) fn dim(&self, name: &str, i: usize, most: usize) -> Result<usize> {
        let dims = &self.get(name)?.dims;
        match dims.get(i) {
            Some(&d) if (1..=most).contains(&d) => Ok(d),
            _ => Err(wrong(name, format!("{dims:?}: dimension {i} is no size"))),
        }
    }

    /// The values of a tensor that has to have these dimensions.
    ///
    /// # Errors
    /// [`CodecError::Tensor`] if it is missing, of another type or shape.
    pub(super) fn values<T: Element>(&self, name: &str, dims: &[usize]) -> Result<Vec<T>> {
        let tensor = self.get(name)?;
        if tensor.kind != T::TYPE {
            let (found, needed) = (tensor.kind, T::TYPE);
            return Err(wrong(name, format!("type {found}, {needed} is needed")));
        }
        if tensor.dims != dims {
            let found = &tensor.dims;
            return Err(wrong(name, format!("shape {found:?}, {dims:?} is needed")));
        }
        Ok(tensor.bytes.chunks_exact(T::BYTES).map(T::read).collect())
    }

    /// The only value of a tensor of one dimension of 1.
    pub(super) fn scalar(&self, name: &str) -> Result<u8> {
        let values = self.values(name, &[1])?;
        values.first().copied().ok_or_else(|| wrong(name, "empty"))
    }

    /// Where the `size` bytes of a tensor begin in `bytes`, of which the section was read.
    pub(super) fn place(&self, name: &str, size: usize, bytes: &[u8]) -> Result<usize> {
        let tensor = self.get(name)?.bytes;
        let at = (tensor.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize);
        at.filter(|at| tensor.len() == size && at + size <= bytes.len())
            .ok_or_else(|| wrong(name, format!("not {size} bytes")))
    }

    fn get(&self, name: &str) -> Result<&Tensor<'a>> {
        let tensor = self.tensors.get(name);
        tensor.ok_or_else(|| wrong(name, "missing"))
    }
}

/// Makes a section.
#[derive(Debug, Default, Clone)]
pub(super) struct SectionWriter {
    count: u16,
    tensors: Vec<u8>,
}

impl SectionWriter {
    /// Appends a tensor; its name has up to 255 bytes.
    pub(super) fn put<T: Element>(&mut self, name: &str, dims: &[usize], values: &[T]) {
        self.count += 1;
        self.tensors.push(name.len() as u8);
        self.tensors.extend(name.bytes());
        self.tensors.extend([T::TYPE, dims.len() as u8]);
        for &d in dims {
            self.tensors.extend((d as u32).to_le_bytes());
        }
        for &v in values {
            v.write(&mut self.tensors);
        }
    }

    /// The section's bytes.
    pub(super) fn finish(&self) -> Vec<u8> {
        let mut out = self.count.to_le_bytes().to_vec();
        out.extend(&self.tensors);
        out
    }
}

/// A file of two sections.
pub(super) fn write(decoder: &[u8], encoder: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend((decoder.len() as u32).to_le_bytes());
    out.extend((encoder.len() as u32).to_le_bytes());
    out.extend(decoder);
    out.extend(encoder);
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out
}
