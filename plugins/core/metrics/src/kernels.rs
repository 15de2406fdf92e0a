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
    block_sums_from::<S>(0, a, b, out);
}

/// [`block_sums`] from block `first` on.
#[inline(always)]
fn block_sums_from<S: Sample>(mut first: usize, a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) {
    let blocks = out.s1.len();
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

/// Windows handled at a time.
const WINDOWS: usize = 8;

/// [`ssim_row`] for 8 bits, where all integers fit into 32 bits: the same result, twice as fast.
#[inline(always)]
fn ssim_row_8(above: &BlockSums, below: &BlockSums, k: SsimConstants) -> f64 {
    let n = above.s1.len().saturating_sub(1);
    let (c1, c2) = (k.c1 as i32, k.c2 as i32);
    let ssim = |s1: i32, s2: i32, ss: i32, s12: i32| {
        let squares = s1 * s1 + s2 * s2;
        let product = s1 * s2;
        let vars = ss * 64 - squares;
        let covar = s12 * 64 - product;
        let up = (2 * product + c1) as f32 * (2 * covar + c2) as f32;
        let down = (squares + c1) as f32 * (vars + c2) as f32;
        up / down
    };
    // A sum for each lane: additions that wait for one another take longer than all the rest.
    let mut totals = [0f64; WINDOWS];
    let mut first = 0;
    while first + WINDOWS <= n {
        let windows = |v: &[u32], w: &[u32]| {
            let (v, w) = (&v[first..=first + WINDOWS], &w[first..=first + WINDOWS]);
            let mut sums = [0i32; WINDOWS];
            for i in 0..WINDOWS {
                sums[i] = (v[i] + v[i + 1] + w[i] + w[i + 1]) as i32;
            }
            sums
        };
        let s1 = windows(&above.s1, &below.s1);
        let s2 = windows(&above.s2, &below.s2);
        let ss = windows(&above.ss, &below.ss);
        let s12 = windows(&above.s12, &below.s12);
        let mut out = [0f32; WINDOWS];
        for i in 0..WINDOWS {
            out[i] = ssim(s1[i], s2[i], ss[i], s12[i]);
        }
        for (total, v) in totals.iter_mut().zip(out) {
            *total += f64::from(v);
        }
        first += WINDOWS;
    }
    let mut total: f64 = totals.iter().sum();
    for i in first..n {
        let at = |v: &[u32], w: &[u32]| (v[i] + v[i + 1] + w[i] + w[i + 1]) as i32;
        total += f64::from(ssim(
            at(&above.s1, &below.s1),
            at(&above.s2, &below.s2),
            at(&above.ss, &below.ss),
            at(&above.s12, &below.s12),
        ));
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

            pub const TABLE: Kernels = Kernels { $($name),* };
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
    /// SSIM of a row of windows, 8 bit.
    ssim_8 = ssim_row_8(above: &BlockSums, below: &BlockSums, k: SsimConstants) -> f64;
    /// SSIM of a row of windows, more than 8 bit.
    ssim_16 = ssim_row(above: &BlockSums, below: &BlockSums, k: SsimConstants) -> f64;
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

    /// The sum of the SSIM of the windows on two rows of blocks, of samples of `bytes` bytes.
    pub fn ssim(
        &self,
        bytes: usize,
        above: &BlockSums,
        below: &BlockSums,
        k: SsimConstants,
    ) -> f64 {
        match bytes {
            1 => (self.ssim_8)(above, below, k),
            _ => (self.ssim_16)(above, below, k),
        }
    }
}

/// The sums of blocks by hand: the compiler does not find the multiplication that adds pairs.
#[cfg(target_arch = "x86_64")]
mod blocks_avx2 {
    use std::arch::x86_64::*;

    use super::*;

    /// Blocks in a vector of 16 samples.
    const IN_VECTOR: usize = 4;

    /// 16 samples as words.
    #[target_feature(enable = "avx2")]
    fn load<S: Sample>(row: &[u8], at: usize) -> __m256i {
        let bytes = &row[at * S::BYTES..(at + 4 * IN_VECTOR) * S::BYTES];
        match S::BYTES {
            // SAFETY: the slice has 16 bytes.
            1 => _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }),
            // SAFETY: the slice has 32 bytes.
            _ => unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) },
        }
    }

    /// Adds neighbours in `x` and in `y`; the four sums of `x` go to `a`, those of `y` to `b`.
    #[target_feature(enable = "avx2")]
    fn store(x: __m256i, y: __m256i, a: &mut [u32], b: &mut [u32]) {
        let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(x, y));
        let (a, b) = (&mut a[..IN_VECTOR], &mut b[..IN_VECTOR]);
        // SAFETY: both slices have four entries of 32 bits.
        unsafe {
            _mm_storeu_si128(a.as_mut_ptr().cast(), _mm256_castsi256_si128(sums));
            _mm_storeu_si128(b.as_mut_ptr().cast(), _mm256_extracti128_si256::<1>(sums));
        }
    }

    #[target_feature(enable = "avx2")]
    fn sums<S: Sample>(a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) {
        let whole = out.s1.len() / IN_VECTOR * IN_VECTOR;
        let ones = _mm256_set1_epi16(1);
        for first in (0..whole).step_by(IN_VECTOR) {
            let mut s1 = _mm256_setzero_si256();
            let (mut s2, mut ss, mut s12) = (s1, s1, s1);
            for (a, b) in a.iter().zip(&b) {
                let (a, b) = (load::<S>(a, 4 * first), load::<S>(b, 4 * first));
                s1 = _mm256_add_epi16(s1, a);
                s2 = _mm256_add_epi16(s2, b);
                let squares = _mm256_add_epi32(_mm256_madd_epi16(a, a), _mm256_madd_epi16(b, b));
                ss = _mm256_add_epi32(ss, squares);
                s12 = _mm256_add_epi32(s12, _mm256_madd_epi16(a, b));
            }
            s1 = _mm256_madd_epi16(s1, ones);
            s2 = _mm256_madd_epi16(s2, ones);
            store(s1, s2, &mut out.s1[first..], &mut out.s2[first..]);
            store(ss, s12, &mut out.ss[first..], &mut out.s12[first..]);
        }
        block_sums_from::<S>(whole, a, b, out);
    }

    fn sums_8(a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) {
        // SAFETY: the table with this function is handed out only if AVX2 was detected.
        unsafe { sums::<Bytes>(a, b, out) }
    }

    fn sums_16(a: [&[u8]; 4], b: [&[u8]; 4], out: &mut BlockSums) {
        // SAFETY: the table with this function is handed out only if AVX2 was detected.
        unsafe { sums::<Words>(a, b, out) }
    }

    pub static TABLE: Kernels = Kernels {
        blocks_8: sums_8,
        blocks_16: sums_16,
        ..avx2::TABLE
    };
}

/// The fastest kernels that this processor runs; `GSTNEURAL_SIMD=off` makes it the plain ones.
pub(crate) fn current() -> &'static Kernels {
    match gstneural_pixels::backend_name() {
        #[cfg(target_arch = "x86_64")]
        "avx2" => &blocks_avx2::TABLE,
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
                assert_eq!(sums[0].s2, sums[1].s2);
                let [mut above, below] = sums;
                above.s1.iter_mut().for_each(|s| *s /= 2);
                let ssim = |table: &Kernels| table.ssim(bytes, &above, &below, k).to_bits();
                assert_eq!(ssim(plain), ssim(fast));
                if bytes == 1 {
                    let wide = (plain.ssim_16)(&above, &below, k);
                    let found = f64::from_bits(ssim(plain));
                    assert!((found - wide).abs() <= 1e-12 * wide.abs(), "{found} {wide}");
                }
            }
        }
    }

    #[test]
    fn the_greatest_sums_do_not_overflow() {
        for (bytes, top) in [(1, 255u16), (2, 1023)] {
            let rows = [0, top].map(|v| match bytes {
                1 => vec![v as u8; 68],
                _ => (0..68).flat_map(|_| v.to_le_bytes()).collect(),
            });
            let k = SsimConstants::new(u32::from(top));
            for (a, b) in [(1, 1), (0, 1), (1, 0)] {
                for table in [&PLAIN, current()] {
                    let mut sums = BlockSums::default();
                    sums.resize(17);
                    let (a, b) = (&rows[a][..], &rows[b][..]);
                    table.blocks(bytes, [a; 4], [b; 4], &mut sums);
                    let found = table.ssim(bytes, &sums, &sums, k);
                    let (x, y) = (
                        f64::from(u32::from(a[0]).min(1) * u32::from(top)),
                        f64::from(u32::from(b[0]).min(1) * u32::from(top)),
                    );
                    let c1 = k.c1 / 4096.0;
                    let expected = 16.0 * (2.0 * x * y + c1) / (x * x + y * y + c1);
                    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
                }
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
