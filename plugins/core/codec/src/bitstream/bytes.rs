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
