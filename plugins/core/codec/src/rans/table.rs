//! Frequency tables: parsing, checking, and the forms that coding needs.

use std::sync::LazyLock;

use super::{ESCAPE, MAX_TABLES, NIBBLE, PRECISION, TOTAL, build, scales};
use crate::{CodecError, Result};

/// First bytes of a file of tables.
const MAGIC: [u8; 4] = *b"GNT1";
/// The shipped Laplace tables as a file, see `examples/make_tables.rs`.
static LAPLACE: &[u8] = include_bytes!("../../tables/laplace.bin");
/// The shipped Gaussian tables.
static GAUSSIAN: &[u8] = include_bytes!("../../tables/gaussian64.bin");

/// What encoding a symbol takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EncodeSymbol {
    /// `floor(2^63 / frequency) + 1`.
    pub(crate) reciprocal: u64,
    /// 0 for a symbol that the table does not have.
    pub(crate) frequency: u16,
    /// Sum of the frequencies before it.
    pub(crate) start: u16,
}

/// A table in the form that decoding needs.
#[derive(Clone)]
pub struct DecodeTable {
    /// The symbol of each slot.
    pub(crate) symbols: [u8; TOTAL as usize],
    /// Frequency (low half) and start (high half) of each symbol.
    pub(crate) ranges: [u32; 256],
    /// Symbols that the table has.
    pub(crate) len: u16,
}

impl std::fmt::Debug for DecodeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecodeTable")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// Up to [`MAX_TABLES`] frequency tables, ready for both directions.
#[derive(Debug, Clone)]
pub struct TableSet {
    encode: Vec<[EncodeSymbol; 256]>,
    decode: Vec<DecodeTable>,
    nibble: (Box<[EncodeSymbol; 256]>, Box<DecodeTable>),
}

impl TableSet {
    /// Laplace tables of 48 scales and 4 offsets: table `4 i + j` has the mean magnitude
    /// `0.04 * 2^(10 i / 47)` (0.04 to 41) around `(2 j + 1) / 16`.
    pub fn laplace() -> &'static Self {
        static SET: LazyLock<TableSet> = LazyLock::new(|| TableSet::shipped(LAPLACE));
        &SET
    }

    /// 64 Gaussian tables; the standard deviation of table `i` is `0.11 * 2^(9.2 i / 63)`,
    /// 0.11 to 64.7.
    pub fn gaussian() -> &'static Self {
        static SET: LazyLock<TableSet> = LazyLock::new(|| TableSet::shipped(GAUSSIAN));
        &SET
    }

    /// The bytes of the shipped Laplace tables, whose SHA-256 is the model of the lossless profile.
    pub fn laplace_bytes() -> &'static [u8] {
        LAPLACE
    }

    fn shipped(bytes: &[u8]) -> Self {
        // The bytes are compiled in and a test parses them: an empty set cannot happen.
        Self::parse(bytes).unwrap_or_else(|_| Self::empty())
    }

    fn empty() -> Self {
        let even = [(TOTAL / 16) as u16; 16];
        let (encode, decode) = forms(&even);
        Self {
            encode: Vec::new(),
            decode: Vec::new(),
            nibble: (Box::new(encode), decode),
        }
    }

    /// A set of tables, each a list of 2 to 256 frequencies of at least 1 that add up to 2^14.
    ///
    /// # Errors
    /// [`CodecError::Table`] names the first table that is not so.
    pub fn new<T: AsRef<[u16]>>(tables: &[T]) -> Result<Self> {
        if tables.is_empty() || tables.len() > MAX_TABLES {
            return Err(CodecError::Field {
                what: "number of tables",
                value: tables.len() as u64,
            });
        }
        let mut set = Self::empty();
        for (table, freqs) in tables.iter().enumerate() {
            let freqs = freqs.as_ref();
            let bad = |reason| Err(CodecError::Table { table, reason });
            if !(2..=256).contains(&freqs.len()) {
                return bad("it must have 2 to 256 symbols");
            }
            if freqs.contains(&0) {
                return bad("a symbol has the frequency 0");
            }
            if freqs.iter().map(|&f| u32::from(f)).sum::<u32>() != TOTAL {
                return bad("the frequencies do not add up to 16384");
            }
            let (encode, decode) = forms(freqs);
            set.encode.push(encode);
            set.decode.push(*decode);
        }
        Ok(set)
    }

    /// Tables from the bytes of a file: `GNT1`, the number of tables (u16), and for each the
    /// number of its symbols (u16) and their frequencies (u16); little endian, nothing after it.
    ///
    /// # Errors
    /// [`CodecError::Magic`], [`CodecError::Truncated`], [`CodecError::Field`] and those of
    /// [`TableSet::new`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut r = crate::bitstream::Reader::new(bytes, "table file");
        let magic = r.array()?;
        if magic != MAGIC {
            return Err(CodecError::Magic(magic));
        }
        let count = usize::from(r.u16()?);
        let mut tables = Vec::new();
        for _ in 0..count.min(MAX_TABLES + 1) {
            let len = r.u16()?;
            tables.push((0..len).map(|_| r.u16()).collect::<Result<Vec<u16>>>()?);
        }
        r.end()?;
        Self::new(&tables)
    }

    /// The bytes that [`TableSet::parse`] reads.
    pub fn to_bytes<T: AsRef<[u16]>>(tables: &[T]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend((tables.len() as u16).to_le_bytes());
        for freqs in tables {
            out.extend((freqs.as_ref().len() as u16).to_le_bytes());
            out.extend(freqs.as_ref().iter().flat_map(|f| f.to_le_bytes()));
        }
        out
    }

    /// The frequencies of the shipped Laplace tables, computed anew.
    pub fn build_laplace() -> Vec<Vec<u16>> {
        let of = |&step| [1, 3, 5, 7].map(|offset| build::laplace(step, offset));
        scales::LAPLACE_STEP_Q62.iter().flat_map(of).collect()
    }

    /// The frequencies of the shipped Gaussian tables, computed anew.
    pub fn build_gaussian() -> Vec<Vec<u16>> {
        scales::GAUSSIAN_STEP_Q62
            .iter()
            .map(|&t| build::gaussian(t))
            .collect()
    }

    /// How many tables there are.
    pub fn len(&self) -> usize {
        self.decode.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.decode.is_empty()
    }

    /// Table `i` for decoding; any other number gives the table of 16 equal symbols.
    pub fn decode_table(&self, i: u8) -> &DecodeTable {
        self.decode.get(usize::from(i)).unwrap_or(&self.nibble.1)
    }

    /// Table `i`, if there is one.
    pub fn get(&self, i: usize) -> Option<&DecodeTable> {
        self.decode.get(i)
    }

    /// Table `i` for encoding, as [`Self::decode_table`].
    pub(crate) fn encode_table(&self, i: u8) -> &[EncodeSymbol; 256] {
        self.encode.get(usize::from(i)).unwrap_or(&self.nibble.0)
    }

    /// The table of 16 symbols of the same probability.
    pub(crate) fn nibble(&self) -> &DecodeTable {
        self.decode_table(NIBBLE)
    }

    /// How many symbols table `i` has.
    pub fn symbols(&self, i: u8) -> usize {
        usize::from(self.decode_table(i).len)
    }

    /// The frequency of a symbol in table `i`, of [`TOTAL`]; 0 for a symbol that it does not have.
    pub fn frequency(&self, i: u8, symbol: u8) -> u32 {
        u32::from(self.encode_table(i)[usize::from(symbol)].frequency)
    }

    /// What a symbol costs in table `i`, in bits.
    pub(crate) fn cost(&self, i: u8, symbol: u8) -> f32 {
        cost(self.frequency(i, symbol)) as f32 / 256.0
    }

    /// What a signed value costs in table `i`, digits after an escape included, in 1/256 bit.
    pub fn signed_cost(&self, i: u8, value: i32) -> u32 {
        let (symbol, digits) = super::encoder::signed_symbol(self, i, value);
        let plain = if symbol == ESCAPE {
            4 + 4 * super::encoder::nibbles(digits)
        } else {
            0
        };
        cost(self.frequency(i, symbol)) + 256 * plain
    }
}

/// Cost of a symbol of this frequency in 1/256 bit, the same on every machine: the logarithm comes
/// from repeated squaring.
pub(crate) fn cost(frequency: u32) -> u32 {
    static COSTS: LazyLock<Vec<u16>> = LazyLock::new(|| {
        let log = |f: u32| {
            let whole = f.ilog2();
            // The mantissa in [1, 2) times 2^31.
            let (mut m, mut log) = (u64::from(f) << (31 - whole), whole);
            for _ in 0..8 {
                m = (m * m) >> 31;
                log = log << 1 | (m >> 32) as u32;
                // Back into [1, 2).
                if m >> 32 == 1 {
                    m >>= 1;
                }
            }
            log
        };
        (0..=TOTAL)
            .map(|f| (256 * PRECISION - log(f.max(1))) as u16)
            .collect()
    });
    COSTS.get(frequency as usize).map_or(0, |&c| c.into())
}

/// Both forms of a list of at most 256 frequencies that add up to [`TOTAL`].
fn forms(freqs: &[u16]) -> ([EncodeSymbol; 256], Box<DecodeTable>) {
    let mut encode = [EncodeSymbol::default(); 256];
    let mut decode = Box::new(DecodeTable {
        symbols: [0; TOTAL as usize],
        ranges: [0; 256],
        len: freqs.len() as u16,
    });
    let mut start = 0u32;
    for (s, &frequency) in freqs.iter().enumerate().take(256) {
        let reciprocal = (1u64 << 63) / u64::from(frequency.max(1)) + 1;
        encode[s] = EncodeSymbol {
            reciprocal,
            frequency,
            start: start as u16,
        };
        decode.ranges[s] = u32::from(frequency) | start << 16;
        for slot in decode
            .symbols
            .iter_mut()
            .skip(start as usize)
            .take(usize::from(frequency))
        {
            *slot = s as u8;
        }
        start += u32::from(frequency);
    }
    (encode, decode)
}
