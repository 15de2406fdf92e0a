//! The checksums of S3.

use aws_sdk_s3::types::ChecksumAlgorithm;
use crc_fast::{CrcAlgorithm, Digest};

/// A checksum that the server compares with what it received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Checksum {
    /// None beyond what the connection gives.
    None,
    /// CRC-32 (ISO-HDLC), which every server knows.
    Crc32,
    /// CRC-64/NVME, the default of AWS.
    #[default]
    Crc64Nvme,
}

impl Checksum {
    pub(crate) fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self {
            Checksum::None => None,
            Checksum::Crc32 => Some(ChecksumAlgorithm::Crc32),
            Checksum::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Checksum::None => None,
            Checksum::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Checksum::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        }
    }

    /// The checksum of some bytes.
    pub(crate) fn of(self, bytes: &[u8]) -> Option<Sum> {
        let crc = self.crc()?;
        Some(Sum {
            kind: self,
            value: crc_fast::checksum(crc, bytes),
            bytes: bytes.len() as u64,
        })
    }
}

/// A checksum and the number of bytes it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    kind: Checksum,
    value: u64,
    bytes: u64,
}

impl Sum {
    /// The checksum of these bytes followed by those of `next`.
    pub fn followed_by(self, next: Self) -> Self {
        let value = match self.kind.crc() {
            Some(crc) => crc_fast::checksum_combine(crc, self.value, next.value, next.bytes),
            None => 0,
        };
        Self {
            value,
            bytes: self.bytes + next.bytes,
            ..self
        }
    }

    /// As S3 writes it: big-endian, in base 64.
    pub fn base64(self) -> String {
        encode(self.kind, self.value)
    }
}

fn encode(kind: Checksum, value: u64) -> String {
    let bytes = value.to_be_bytes();
    let significant = match kind {
        Checksum::Crc32 => bytes.get(4..).unwrap_or_default(),
        _ => &bytes,
    };
    aws_smithy_types::base64::encode(significant)
}

/// Follows an object's bytes from the first to the last and compares their checksum.
pub(crate) struct Verifier {
    digest: Digest,
    expected: String,
    encode: fn(u64) -> String,
    next: u64,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// For a checksum of the whole object as the server states it.
    pub fn new(algorithm: &ChecksumAlgorithm, expected: &str) -> Option<Self> {
        type Form = fn(u64) -> String;
        let (crc, encode): (_, Form) = match algorithm {
            ChecksumAlgorithm::Crc32 => {
                (CrcAlgorithm::Crc32IsoHdlc, |v| encode(Checksum::Crc32, v))
            }
            ChecksumAlgorithm::Crc32C => (CrcAlgorithm::Crc32Iscsi, |v| encode(Checksum::Crc32, v)),
            ChecksumAlgorithm::Crc64Nvme => {
                (CrcAlgorithm::Crc64Nvme, |v| encode(Checksum::Crc64Nvme, v))
            }
            _ => return None,
        };
        Some(Self {
            digest: Digest::new(crc),
            expected: expected.to_owned(),
            encode,
            next: 0,
        })
    }

    /// Takes the bytes at `offset`; `false` when some were skipped: then nothing can be said.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) -> bool {
        if offset != self.next {
            return false;
        }
        self.digest.update(bytes);
        self.next += bytes.len() as u64;
        true
    }

    /// Compares, once `size` bytes were taken: `Err` holds the checksum found and the one expected.
    pub fn verdict(&self, size: u64) -> Result<(), (String, String)> {
        if self.next != size {
            return Ok(());
        }
        let found = (self.encode)(self.digest.finalize());
        if found == self.expected {
            Ok(())
        } else {
            Err((found, self.expected.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The check values of the CRC catalogue for "123456789".
    #[test]
    fn check_values() {
        let crc32 = Checksum::Crc32.of(b"123456789").unwrap();
        assert_eq!(crc32.value, 0xcbf4_3926);
        assert_eq!(crc32.base64(), "y/Q5Jg==");
        let crc64 = Checksum::Crc64Nvme.of(b"123456789").unwrap();
        assert_eq!(crc64.value, 0xae8b_1486_0a79_9888);
        assert!(Checksum::None.of(b"123456789").is_none());
    }

    #[test]
    fn parts_together_are_the_whole() {
        for kind in [Checksum::Crc32, Checksum::Crc64Nvme] {
            let (one, two) = (kind.of(b"12345").unwrap(), kind.of(b"6789").unwrap());
            assert_eq!(one.followed_by(two), kind.of(b"123456789").unwrap());
        }
    }

    #[test]
    fn large_parts_together_are_the_whole() {
        let data: Vec<u8> = (0..11_000_003u32)
            .map(|n| (n.wrapping_mul(2654435761) >> 24) as u8)
            .collect();
        for kind in [Checksum::Crc32, Checksum::Crc64Nvme] {
            let parts = data.chunks(5 << 20).map(|part| kind.of(part).unwrap());
            let sum = parts.reduce(Sum::followed_by).unwrap();
            assert_eq!(sum, kind.of(&data).unwrap(), "{kind:?}");
        }
    }

    #[test]
    fn verifying() {
        let sum = Checksum::Crc64Nvme.of(b"123456789").unwrap().base64();
        let mut verifier = Verifier::new(&ChecksumAlgorithm::Crc64Nvme, &sum).unwrap();
        assert!(verifier.take(0, b"1234"));
        assert!(verifier.verdict(9).is_ok(), "nothing can be said yet");
        assert!(verifier.take(4, b"56789"));
        assert_eq!(verifier.verdict(9), Ok(()));
        let mut verifier = Verifier::new(&ChecksumAlgorithm::Crc64Nvme, &sum).unwrap();
        assert!(verifier.take(0, b"12345678X"));
        assert!(verifier.verdict(9).is_err());
        assert!(!verifier.take(3, b"4"));
    }
}
