//! The encoder: collects symbols, codes them backwards at the end.

use super::{ESCAPE, LANES, LOWER, NIBBLE, PRECISION, TableSet, table::EncodeSymbol, zigzag};
use crate::{CodecError, Result};

/// Collects symbols for [`Encoder::finish`]. rANS decodes last in, first out, so the work is done
/// when all symbols are known.
#[derive(Debug, Default, Clone)]
pub struct Encoder {
    /// Table (high byte) and symbol (low byte) in the order of decoding.
    symbols: Vec<u16>,
    /// Scratch space.
    values: Vec<i32>,
    words: Vec<u16>,
}

/// The symbol of a signed value in a table of signed values, and what follows an escape.
pub(crate) fn signed_symbol(tables: &TableSet, table: u8, value: i32) -> (u8, u32) {
    let v = zigzag(value);
    let plain = tables.symbols(table) as u32 - 1;
    if v < plain {
        (v as u8 + 1, 0)
    } else {
        (ESCAPE, v - plain)
    }
}

/// Digits of base 16 that a number has, 0 for 0.
pub(crate) fn nibbles(v: u32) -> u32 {
    (32 - v.leading_zeros()).div_ceil(4)
}

impl Encoder {
    /// An encoder without symbols.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the symbols and keeps the memory.
    pub fn clear(&mut self) {
        self.symbols.clear();
    }

    /// Symbols so far.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// Table and symbol of all that was added.
    pub fn symbols(&self) -> impl Iterator<Item = (u8, u8)> {
        self.symbols.iter().map(|s| ((s >> 8) as u8, *s as u8))
    }

    /// Adds a symbol.
    #[inline]
    pub fn put(&mut self, table: u8, symbol: u8) {
        self.symbols.push(u16::from(table) << 8 | u16::from(symbol));
    }

    /// Adds a number of 4 bits (higher bits are ignored) that costs 4 bits.
    pub fn put_nibble(&mut self, value: u32) {
        self.put(NIBBLE, (value & 15) as u8);
    }

    /// Adds a signed value in a table of signed values; a rare one costs the escape and a number of
    /// 4 bits for every digit and for their count.
    pub fn put_signed(&mut self, tables: &TableSet, table: u8, value: i32) {
        let (symbol, digits) = signed_symbol(tables, table, value);
        self.put(table, symbol);
        if symbol == ESCAPE {
            let count = nibbles(digits);
            self.put_nibble(count);
            for i in (0..count).rev() {
                self.put_nibble(digits >> (4 * i));
            }
        }
    }

    /// Chooses the table that codes these values in the fewest bits (the first of such) and puts
    /// its number, for [`Decoder::get_choice`](super::Decoder::get_choice).
    pub fn put_choice(&mut self, tables: &TableSet, values: impl Iterator<Item = i32>) -> u8 {
        let mut sorted = std::mem::take(&mut self.values);
        sorted.clear();
        sorted.extend(values);
        sorted.sort_unstable();
        let bits = |t: u8| -> u64 {
            let runs = sorted.chunk_by(|a, b| a == b);
            let cost = |v: &i32| u64::from(tables.signed_cost(t, *v));
            runs.map(|r| r.len() as u64 * r.first().map_or(0, cost))
                .sum()
        };
        let mut best = (u64::MAX, 0);
        for t in 0..tables.len() as u8 {
            let b = bits(t);
            if b < best.0 {
                best = (b, t);
            }
        }
        self.values = sorted;
        self.put_nibble(u32::from(best.1 >> 4));
        self.put_nibble(u32::from(best.1));
        best.1
    }

    /// The coded bytes: four states (u32) and the words (u16) that decoding takes in, little endian.
    ///
    /// # Errors
    /// [`CodecError::Table`] if a symbol is not in its table.
    pub fn finish(&self, tables: &TableSet) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.code(|_| tables, &mut Vec::new(), &mut out)?;
        Ok(out)
    }

    /// As [`Self::finish`], into `out`, whose memory is used again.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_into(&mut self, tables: &TableSet, out: &mut Vec<u8>) -> Result<()> {
        self.finish_both_into(tables, usize::MAX, tables, out)
    }

    /// As [`Self::finish_into`], with other tables from symbol `from` on.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_both_into(
        &mut self,
        tables: &TableSet,
        from: usize,
        others: &TableSet,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut words = std::mem::take(&mut self.words);
        let by = |at| if at < from { tables } else { others };
        let result = if from == usize::MAX {
            self.code(|_| tables, &mut words, out)
        } else {
            self.code(by, &mut words, out)
        };
        self.words = words;
        result
    }

    /// As [`Self::finish_both_into`], in the form that
    /// [`SmallDecoder`](super::SmallDecoder) reads: one state, an odd number of bytes, which no
    /// other form has.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_small_into(
        &self,
        tables: &TableSet,
        from: usize,
        others: &TableSet,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut state = 0u32;
        out.clear();
        for (at, symbol) in self.symbols.iter().enumerate().rev() {
            let set = if at < from { tables } else { others };
            let (table, symbol) = ((symbol >> 8) as u8, *symbol as u8);
            let e = set.encode_table(table)[usize::from(symbol)];
            if e.frequency == 0 {
                return Err(no_symbol(table));
            }
            while state >> (24 - PRECISION) >= u32::from(e.frequency) {
                out.push(state as u8);
                state >>= 8;
            }
            let (quotient, rest) = (
                state / u32::from(e.frequency),
                state % u32::from(e.frequency),
            );
            state = (quotient << PRECISION) + rest + u32::from(e.start);
        }
        while state > 0 || out.len().is_multiple_of(2) {
            // The first zero of an even number stands in front.
            out.push(state as u8);
            state >>= 8;
        }
        out.reverse();
        Ok(())
    }

    /// `tables` gives those of the symbol at a position.
    #[inline(always)]
    fn code<'a>(
        &self,
        tables: impl Fn(usize) -> &'a TableSet,
        words: &mut Vec<u16>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut states = [LOWER; LANES];
        // A symbol costs at most 14 bits, so it never emits more than one word.
        words.clear();
        words.resize(self.symbols.len() + 1, 0);
        let mut at = 0;
        let (quads, rest) = self.symbols.as_chunks::<LANES>();
        let mut step = |state: &mut u32, place: usize, symbol: u16| -> bool {
            let table = tables(place).encode_table((symbol >> 8) as u8);
            let e = &table[usize::from(symbol & 255)];
            if let Some(word) = words.get_mut(at) {
                *word = *state as u16;
            }
            at += usize::from(push(state, e));
            e.frequency != 0
        };
        let mut good = true;
        for (lane, &symbol) in rest.iter().enumerate().rev() {
            good &= step(&mut states[lane], LANES * quads.len() + lane, symbol);
        }
        let [mut a, mut b, mut c, mut d] = states;
        for (i, &[w, x, y, z]) in quads.iter().enumerate().rev() {
            let at = LANES * i;
            good &= step(&mut d, at + 3, z);
            good &= step(&mut c, at + 2, y);
            good &= step(&mut b, at + 1, x);
            good &= step(&mut a, at, w);
        }
        if !good {
            let missing =
                |(i, s): &(usize, &u16)| tables(*i).frequency((**s >> 8) as u8, **s as u8) == 0;
            let first = self.symbols.iter().enumerate().find(missing);
            return Err(no_symbol(first.map_or(0, |(_, s)| (s >> 8) as u8)));
        }
        out.clear();
        out.reserve(4 * LANES + 2 * at);
        out.extend([a, b, c, d].iter().flat_map(|s| s.to_le_bytes()));
        out.extend(words.iter().take(at).rev().flat_map(|w| w.to_le_bytes()));
        Ok(())
    }
}

fn no_symbol(table: u8) -> CodecError {
    CodecError::Table {
        table: table.into(),
        reason: "it does not have the symbol",
    }
}

/// Puts a symbol into a state; whether the state's low word had to leave first.
#[inline(always)]
fn push(state: &mut u32, e: &EncodeSymbol) -> bool {
    let frequency = u32::from(e.frequency);
    let full = (*state >> (32 - PRECISION)) >= frequency;
    let x = if full { *state >> 16 } else { *state };
    // x / frequency without a division: exact, since x < 2^32 and the reciprocal has 63 bits.
    let quotient = (((u128::from(x) << 1) * u128::from(e.reciprocal)) >> 64) as u32;
    *state = (quotient << PRECISION)
        .wrapping_add(x.wrapping_sub(quotient.wrapping_mul(frequency)))
        .wrapping_add(u32::from(e.start));
    full
}
