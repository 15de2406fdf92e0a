//! Interleaved range asymmetric numeral systems (rANS) with frozen tables.
//!
//! Duda, "Asymmetric numeral systems" (arXiv 1311.2540); Giesen, "Interleaved entropy coders"
//! (arXiv 1402.3392). Here: [`LANES`] states of 32 bits take turns, probabilities have
//! [`PRECISION`] bits, states are renormalised by 16-bit words.
//!
//! Which table codes a symbol is known to both sides. A table is a list of u16 frequencies that
//! came from a file ([`TableSet::parse`]), so nothing here depends on floating point.
//!
//! ```
//! use gstneural_codec::rans::{Decoder, Encoder, ReadSymbols, TableSet};
//!
//! let tables = TableSet::laplace();
//! let mut encoder = Encoder::new();
//! for value in [0, -1, 3, 400] {
//!     encoder.put_signed(tables, 40, value);
//! }
//! let bytes = encoder.finish(tables)?;
//! assert_eq!(bytes.len(), 20); // four states of 4 bytes, and two words
//!
//! let mut decoder = Decoder::new(&bytes)?;
//! let table = tables.decode_table(40);
//! let values: Vec<i32> = (0..4).map(|_| decoder.get_signed(tables, table)).collect();
//! assert_eq!(values, [0, -1, 3, 400]);
//! decoder.finish()?;
//! # Ok::<(), gstneural_codec::CodecError>(())
//! ```

pub mod build;
mod decoder;
mod encoder;
mod scales;
mod table;

pub use decoder::{Decoder, ReadSymbols, SmallDecoder};
pub use encoder::Encoder;
pub(crate) use table::cost;
pub use table::{DecodeTable, TableSet};

/// Bits of a probability: the frequencies of a table add up to 2^14.
pub const PRECISION: u32 = 14;
/// The sum of the frequencies of a table.
pub const TOTAL: u32 = 1 << PRECISION;
/// States that take turns.
pub const LANES: usize = 4;
/// The least value of a state between two symbols.
pub(crate) const LOWER: u32 = 1 << 16;
/// The symbol that says that the value follows in plain digits, in tables of signed values.
pub const ESCAPE: u8 = 0;
/// Tables that a [`TableSet`] can have.
pub const MAX_TABLES: usize = 248;
/// The number of the table (of every set) whose 16 symbols have the same probability.
pub(crate) const NIBBLE: u8 = 255;

/// 0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ...
pub(crate) fn zigzag(v: i32) -> u32 {
    ((v << 1) ^ (v >> 31)) as u32
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(v: u32) -> i32 {
    (v >> 1) as i32 ^ -((v & 1) as i32)
}

#[cfg(test)]
mod tests;
