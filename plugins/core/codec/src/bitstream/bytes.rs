//! Reading bytes that may be anything.

use crate::{CodecError, Result};

/// Takes little-endian numbers from bytes; never reads past their end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Bytes taken.
    at: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`; errors call them `what`.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, at: 0, what }
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] if there are fewer.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let rest = self.rest();
        let Some(taken) = rest.get(..n) else {
            return Err(CodecError::Truncated {
                what: self.what,
                missing: n - rest.len(),
            });
        };
        self.at += n;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// As [`Self::take`]; so have all that follow.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A number of 8 bits.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(|[b]| b)
    }

    /// A number of 16 bits.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of at most 32 bits in bytes of 7, the lowest first; all but the last have 128 added.
    ///
    /// # Errors
    /// As [`Self::take`]; [`CodecError::Field`] beyond 32 bits.
    pub fn varint(&mut self) -> Result<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        u32::try_from(value).map_err(|_| CodecError::Field {
            what: self.what,
            value,
        })
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    /// What was taken.
    pub fn taken(&self) -> &'a [u8] {
        self.bytes.get(..self.at).unwrap_or(&[])
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`CodecError::Field`] if something is.
    pub fn end(&self) -> Result<()> {
        match self.rest().len() {
            0 => Ok(()),
            n => Err(CodecError::Field {
                what: "number of bytes too many",
                value: n as u64,
            }),
        }
    }
}

/// Writes what [`Reader::varint`] reads.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}
