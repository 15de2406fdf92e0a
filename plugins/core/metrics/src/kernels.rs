//! Row kernels in plain Rust, compiled twice: for any processor, and for AVX2. The results are
//! bit-identical: sums are of integers, and floating point is never reordered or fused.

/// Sums over blocks of 4x4 samples, one entry a block: of the reference, the distorted, their
/// squares together, and their products.
#[derive(Debug, Default, Clone)]
pub(crate) struct BlockSums {
    pub s1: Vec<u32>,
    pub s2: Vec<u32>,
    pub ss: Vec<u32>,
    pub s12: Vec<u32>,
}

impl BlockSums {
    pub fn resize(&mut self, blocks: usize) {
        for v in [&mut self.s1, &mut self.s2, &mut self.ss, &mut self.s12] {
            v.clear();
            v.resize(blocks, 0);
        }
    }
}

/// A sample in memory.
pub(crate) trait Sample {
    const BYTES: usize;
    fn at(row: &[u8], x: usize) -> i32;
}

#[derive(Debug)]
pub(crate) struct Bytes;
#[derive(Debug)]
pub(crate) struct Words;

impl Sample for Bytes {
    const BYTES: usize = 1;
    #[inline(always)]
    fn at(row: &[u8], x: usize) -> i32 {
        i32::from(row[x])
    }
}

impl Sample for Words {
    const BYTES: usize = 2;
    #[inline(always)]
    fn at(row: &[u8], x: usize) -> i32 {
        i32::from(u16::from_le_bytes([row[2 * x], row[2 * x + 1]]))
    }
}

/// Samples whose squared differences fit into 32 bits together: 1024 of up to 11 bits.
const PIECE: usize = 1024;

/// Sum of squared differences of two rows of consecutive samples.
#[inline(always)]
fn sse<S: Sample>(a: &[u8], b: &[u8]) -> u64 {
    let mut total = 0;
    for (a, b) in a.chunks(PIECE * S::BYTES).zip(b.chunks(PIECE * S::BYTES)) {
        let n = a.len().min(b.len()) / S::BYTES;
        let (a, b) = (&a[..n * S::BYTES], &b[..n * S::BYTES]);
        let mut sum = 0u32;
        for x in 0..n {
            let d = S::at(a, x) - S::at(b, x);
            sum += (d * d) as u32;
        }
        total += u64::from(sum);
    }
    total
}

/// Sum of absolute differences of two rows of consecutive samples.
#[inline(always)]
fn sad<S: Sample>(a: &[u8], b: &[u8]) -> u32 {
    let n = a.len().min(b.len()) / S::BYTES;
    let (a, b) = (&a[..n * S::BYTES], &b[..n * S::BYTES]);
    let mut sum = 0u32;
    for x in 0..n {
        sum += S::at(a, x).abs_diff(S::at(b, x));
    }
    sum
}

/// Blocks handled at a time: their columns are summed first, then each four columns.
const BLOCKS: usize = 16;
const COLUMNS: usize = 4 * BLOCKS;

/// The sums of each 4x4 block of four rows; as many blocks as `out` has entries.
#[inline(always)]
fn block_sums<S: Sample>(a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) {
    let blocks = out.s1.len();
    let mut first = 0;
    while first < blocks {
        let n = (blocks - first).min(BLOCKS);
        let mut cols = [[0u32; COLUMNS]; 4];
        let (from, to) = (4 * first * S::BYTES, 4 * (first + n) * S::BYTES);
        for (a, b) in a.iter().zip(&b) {
            let (a, b) = (&a[from..to], &b[from..to]);
            let [c1, c2, cs, c12] = &mut cols;
            for x in 0..4 * n {
                let (p, q) = (S::at(a, x) as u32, S::at(b, x) as u32);
                c1[x] += p;
                c2[x] += q;
                cs[x] += p * p + q * q;
                c12[x] += p * q;
            }
        }
        let outs = [&mut out.s1, &mut out.s2, &mut out.ss, &mut out.s12];
        for (out, cols) in outs.into_iter().zip(&cols) {
            let (cols, _) = cols.as_chunks::<4>();
            for (out, c) in out[first..first + n].iter_mut().zip(cols) {
                *out = c[0] + c[1] + c[2] + c[3];
            }
        }
        first += n;
    }
}

/// The constants of [`ssim_row`] for samples of up to `max`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SsimConstants {
    pub c1: f64,
    pub c2: f64,
}

impl SsimConstants {
    pub fn new(max: u32) -> Self {
        let max = f64::from(max);
        let whole = |v: f64| (v + 0.5).floor();
        Self {
            c1: whole(0.01 * 0.01 * max * max * 64.0),
            c2: whole(0.03 * 0.03 * max * max * 64.0 * 63.0),
        }
    }
}

/// The sum of the SSIM of all 8x8 windows that lie on two rows of blocks, at a distance of four
/// samples. What is an integer in ffmpeg is an `f64` here and exact, and is rounded to `f32`
/// at the same places.
#[inline(always)]
fn ssim_row(above: &BlockSums, below: &BlockSums, k: SsimConstants) -> f64 {
    let n = above.s1.len().saturating_sub(1);
    let mut total = 0.0;
    let mut first = 0;
    while first < n {
        let len = (n - first).min(8);
        let mut out = [0f32; 8];
        let window = |v: &[u32], w: &[u32]| {
            let mut sums = [0f64; 8];
            let (v, w) = (&v[first..=first + len], &w[first..=first + len]);
            for i in 0..len {
                sums[i] = f64::from((v[i] + v[i + 1] + w[i] + w[i + 1]) as i32);
            }
            sums
        };
        let s1 = window(&above.s1, &below.s1);
        let s2 = window(&above.s2, &below.s2);
        let ss = window(&above.ss, &below.ss);
        let s12 = window(&above.s12, &below.s12);
        for i in 0..8 {
            let squares = s1[i] * s1[i] + s2[i] * s2[i];
            let product = s1[i] * s2[i];
            let vars = ss[i] * 64.0 - squares;
            let covar = s12[i] * 64.0 - product;
            let up = (2.0 * product + k.c1) as f32 * (2.0 * covar + k.c2) as f32;
            let down = (squares + k.c1) as f32 * (vars + k.c2) as f32;
            out[i] = up / down;
        }
        for v in &out[..len] {
            total += f64::from(*v);
        }
        first += len;
    }
    total
}

macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident = $body:ident $(<$sample:ident>)? ($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {
        /// The kernels that are in use.
        pub(crate) struct Kernels {
            $($(#[$doc])* pub $name: fn($($ty),*) -> $ret,)*
        }

        mod plain {
            use super::*;
            $(pub fn $name($($arg: $ty),*) -> $ret { $body$(::<$sample>)?($($arg),*) })*
        }

        static PLAIN: Kernels = Kernels { $($name: plain::$name),* };

        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::*;

            mod inner {
                use super::*;
                $(
                    #[target_feature(enable = "avx2")]
                    pub fn $name($($arg: $ty),*) -> $ret { $body$(::<$sample>)?($($arg),*) }
                )*
            }
            $(
                fn $name($($arg: $ty),*) -> $ret {
                    // SAFETY: the table with this function is handed out only if AVX2 was
                    // detected.
                    unsafe { inner::$name($($arg),*) }
                }
            )*

            pub static TABLE: Kernels = Kernels { $($name),* };
        }
    };
}

kernels! {
    /// Sum of squared differences, 8 bit.
    sse_8 = sse<Bytes>(a: &[u8], b: &[u8]) -> u64;
    /// Sum of squared differences, more than 8 bit.
    sse_16 = sse<Words>(a: &[u8], b: &[u8]) -> u64;
    /// Sum of absolute differences, 8 bit.
    sad_8 = sad<Bytes>(a: &[u8], b: &[u8]) -> u32;
    /// Sum of absolute differences, more than 8 bit.
    sad_16 = sad<Words>(a: &[u8], b: &[u8]) -> u32;
    /// Sums of 4x4 blocks, 8 bit.
    blocks_8 = block_sums<Bytes>(a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) -> ();
    /// Sums of 4x4 blocks, more than 8 bit.
    blocks_16 = block_sums<Words>(a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) -> ();
    /// SSIM of a row of windows.
    ssim = ssim_row(above: &BlockSums, below: &BlockSums, k: SsimConstants) -> f64;
}

impl Kernels {
    /// Sum of squared differences of rows of `bytes` bytes a sample.
    pub fn sse(&self, bytes: usize, a: &[u8], b: &[u8]) -> u64 {
        match bytes {
            1 => (self.sse_8)(a, b),
            _ => (self.sse_16)(a, b),
        }
    }

    /// Sum of absolute differences of rows of `bytes` bytes a sample.
    pub fn sad(&self, bytes: usize, a: &[u8], b: &[u8]) -> u32 {
        match bytes {
            1 => (self.sad_8)(a, b),
            _ => (self.sad_16)(a, b),
        }
    }

    /// Sums of 4x4 blocks of rows of `bytes` bytes a sample.
    pub fn blocks(&self, bytes: usize, a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) {
        match bytes {
            1 => (self.blocks_8)(a, b, out),
            _ => (self.blocks_16)(a, b, out),
        }
    }
}

/// The fastest kernels that this processor runs; `GSTNEURAL_SIMD=off` makes it the plain ones.
pub(crate) fn current() -> &'static Kernels {
    match gstneural_pixels::backend_name() {
        #[cfg(target_arch = "x86_64")]
        "avx2" => &avx2::TABLE,
        _ => &PLAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn both_tables_give_the_same_bits() {
        let mut random = Random(7);
        for n in [1, 3, 4, 7, 8, 31, 64, 65, 200, 1024, 1025, 4099] {
            for bytes in [1, 2] {
                let rows: Vec<Vec<u8>> = (0..8).map(|_| random.row(n, bytes)).collect();
                let (plain, fast) = (&PLAIN, current());
                assert_eq!(
                    plain.sse(bytes, &rows[0], &rows[1]),
                    fast.sse(bytes, &rows[0], &rows[1])
                );
                assert_eq!(
                    plain.sad(bytes, &rows[0], &rows[1]),
                    fast.sad(bytes, &rows[0], &rows[1])
                );
                let a: [&[u8]; 4] = std::array::from_fn(|i| &rows[i][..]);
                let b: [&[u8]; 4] = std::array::from_fn(|i| &rows[i + 4][..]);
                let mut sums = [BlockSums::default(), BlockSums::default()];
                for (kernels, sums) in [plain, fast].into_iter().zip(&mut sums) {
                    sums.resize(n / 4);
                    kernels.blocks(bytes, a, b, sums);
                }
                assert_eq!(sums[0].s1, sums[1].s1);
                assert_eq!(sums[0].s12, sums[1].s12);
                assert_eq!(sums[0].ss, sums[1].ss);
                let k = SsimConstants::new(if bytes == 1 { 255 } else { 1023 });
                let ssim = |table: &Kernels| (table.ssim)(&sums[0], &sums[1], k).to_bits();
                assert_eq!(ssim(plain), ssim(fast));
            }
        }
    }

    #[test]
    fn the_greatest_differences_do_not_overflow() {
        let (a, b) = (vec![0u8; 65536], vec![255u8; 65536]);
        assert_eq!((current().sse_8)(&a, &b), 65536 * 65025);
        let words: Vec<u8> = (0..65536).flat_map(|_| 1023u16.to_le_bytes()).collect();
        let zeros = vec![0u8; words.len()];
        assert_eq!((current().sse_16)(&words, &zeros), 65536 * 1023 * 1023);
    }
}
