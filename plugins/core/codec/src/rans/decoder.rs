//! The decoder. Any bytes are decoded to something: it never reads outside of them.

use super::{DecodeTable, ESCAPE, LANES, LOWER, PRECISION, TOTAL, TableSet, unzigzag};
use crate::{CodecError, Result};

/// Takes symbols out of coded bytes, one after the other.
pub trait ReadSymbols {
    /// The next symbol.
    fn get(&mut self, table: &DecodeTable) -> u8;

    /// Checks that the data was used up to its end and what is left of it is what encoding began
    /// with: damage is nearly always found here.
    ///
    /// # Errors
    /// [`CodecError::Field`] if not.
    fn finish(&self) -> Result<()>;

    /// The next signed value of a table of signed values.
    #[inline(always)]
    fn get_signed(&mut self, tables: &TableSet, table: &DecodeTable) -> i32 {
        let symbol = self.get(table);
        if symbol == ESCAPE {
            return self.escaped(tables, table);
        }
        unzigzag(u32::from(symbol) - 1)
    }

    /// A number of 4 bits.
    fn get_nibble(&mut self, tables: &TableSet) -> u32 {
        u32::from(self.get(tables.nibble()))
    }

    /// The table whose number [`Encoder::put_choice`](super::Encoder::put_choice) wrote.
    ///
    /// # Errors
    /// [`CodecError::Field`] if there is none of this number.
    fn get_choice<'t>(&mut self, tables: &'t TableSet) -> Result<&'t DecodeTable> {
        let number = self.get_nibble(tables) << 4 | self.get_nibble(tables);
        match tables.get(number as usize) {
            Some(table) => Ok(table),
            None => Err(CodecError::Field {
                what: "table number",
                value: number.into(),
            }),
        }
    }

    /// What follows an escape.
    #[cold]
    fn escaped(&mut self, tables: &TableSet, table: &DecodeTable) -> i32 {
        // More than 8 digits do not exist; damaged data may say so.
        let count = self.get_nibble(tables).min(8);
        let digits = (0..count).fold(0u32, |v, _| v << 4 | self.get_nibble(tables));
        unzigzag(digits.wrapping_add(u32::from(table.len) - 1))
    }
}

/// Symbols of [`LANES`] states that take turns.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    /// The lane whose turn it is comes first.
    states: [u32; LANES],
    words: &'a [[u8; 2]],
    /// The next word. May pass the end: then words are 0, and [`Self::finish`] tells.
    at: usize,
    /// Lanes that `states` has been turned by.
    turn: usize,
}

impl<'a> Decoder<'a> {
    /// Decoding of what [`Encoder::finish`](super::Encoder::finish) gave.
    ///
    /// # Errors
    /// [`CodecError::Truncated`] if there are less than 16 bytes, [`CodecError::Field`] if their
    /// number is odd.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let Some((head, rest)) = bytes.split_first_chunk::<{ 4 * LANES }>() else {
            return Err(CodecError::Truncated {
                what: "rANS states",
                missing: 4 * LANES - bytes.len(),
            });
        };
        let (words, odd) = rest.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(CodecError::Field {
                what: "length of rANS data",
                value: bytes.len() as u64,
            });
        }
        let mut states = [0; LANES];
        for (state, bytes) in states.iter_mut().zip(head.as_chunks::<4>().0) {
            *state = u32::from_le_bytes(*bytes);
        }
        Ok(Self {
            states,
            words,
            at: 0,
            turn: 0,
        })
    }

    /// Decodes one symbol for each table number into `out`, as many as the shorter has.
    pub fn get_many(&mut self, tables: &TableSet, numbers: &[u8], out: &mut [u8]) {
        let n = numbers.len().min(out.len());
        let mut own = self.clone();
        let (quads, rest) = numbers[..n].as_chunks::<LANES>();
        let (out_quads, out_rest) = out[..n].as_chunks_mut::<LANES>();
        for (numbers, out) in quads.iter().zip(out_quads) {
            for (number, out) in numbers.iter().zip(out) {
                *out = own.get(tables.decode_table(*number));
            }
        }
        for (number, out) in rest.iter().zip(out_rest) {
            *out = own.get(tables.decode_table(*number));
        }
        *self = own;
    }
}

impl ReadSymbols for Decoder<'_> {
    #[inline(always)]
    fn get(&mut self, table: &DecodeTable) -> u8 {
        let [x, b, c, d] = self.states;
        let slot = x & (TOTAL - 1);
        let symbol = table.symbols[slot as usize];
        let range = table.ranges[usize::from(symbol)];
        // Wrapping: damaged data may start with any state.
        let x = (range & 0xffff)
            .wrapping_mul(x >> PRECISION)
            .wrapping_add(slot)
            .wrapping_sub(range >> 16);
        let word = self
            .words
            .get(self.at)
            .map_or(0, |w| u32::from(u16::from_le_bytes(*w)));
        let low = x < LOWER;
        self.at += usize::from(low);
        let x = if low { x << 16 | word } else { x };
        self.states = [b, c, d, x];
        self.turn = self.turn.wrapping_add(1);
        symbol
    }

    fn finish(&self) -> Result<()> {
        if self.at != self.words.len() {
            return Err(CodecError::Field {
                what: "end of rANS data",
                value: self.at as u64,
            });
        }
        match self.states.iter().find(|&&s| s != LOWER) {
            Some(&s) => Err(CodecError::Field {
                what: "final rANS state",
                value: u64::from(s),
            }),
            None => Ok(()),
        }
    }
}

/// As [`Decoder`], of one state and bytes in place of words: what
/// [`Encoder::finish_small_into`](super::Encoder::finish_small_into) gives. Slower, and 11 bytes smaller.
#[derive(Debug, Clone)]
pub struct SmallDecoder<'a> {
    state: u32,
    rest: &'a [u8],
}

impl<'a> SmallDecoder<'a> {
    /// Decoding of these bytes; there is nothing that they could not be.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut out = Self {
            state: 0,
            rest: bytes,
        };
        out.fill();
        out
    }

    #[inline(always)]
    fn fill(&mut self) {
        while self.state < LOWER {
            let Some((&first, rest)) = self.rest.split_first() else {
                break;
            };
            self.state = self.state << 8 | u32::from(first);
            self.rest = rest;
        }
    }
}

impl ReadSymbols for SmallDecoder<'_> {
    #[inline(always)]
    fn get(&mut self, table: &DecodeTable) -> u8 {
        let slot = self.state & (TOTAL - 1);
        let symbol = table.symbols[slot as usize];
        let range = table.ranges[usize::from(symbol)];
        self.state = (range & 0xffff)
            .wrapping_mul(self.state >> PRECISION)
            .wrapping_add(slot)
            .wrapping_sub(range >> 16);
        self.fill();
        symbol
    }

    fn finish(&self) -> Result<()> {
        match (self.rest, self.state) {
            ([], 0) => Ok(()),
            (rest, state) => Err(CodecError::Field {
                what: "end of rANS data",
                value: (rest.len() as u64) << 32 | u64::from(state),
            }),
        }
    }
}
