//! Row kernels: a table of plain ones, which are the specification, and faster ones that
//! give bit-identical results. Which table is used is decided once per call of the
//! public functions, not per row.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::color::Coefficients;
use crate::component::Layout;
use crate::plain;
use crate::taps::Taps;

/// Which kernels to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Portable Rust: the specification.
    Plain,
    /// The fastest that this processor runs, with results identical to [`Backend::Plain`].
    /// `GSTNEURAL_SIMD=off` in the environment, read once, makes it the plain ones.
    Auto,
}

/// Multiplier, offset and ceiling of a quantisation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quant {
    pub scale: f32,
    pub bias: f32,
    pub max: f32,
}

impl Quant {
    pub fn new(scale: f32, bias: f32, max: u32) -> Self {
        Self {
            scale,
            bias,
            max: max as f32,
        }
    }
}

/// One output row of a depth-to-space: output `i` is
/// `src[((first + i) % r) * plane_stride + (first + i) / r]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shuffle {
    pub plane_stride: usize,
    pub r: usize,
    pub first: usize,
    pub n: usize,
}

/// Rows of a ring buffer: row `y` lies at `(y % rows) * stride`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring<'a> {
    pub data: &'a [f32],
    pub stride: usize,
    pub rows: usize,
}

pub(crate) type LoadRow = fn(&[u8], Layout, f32, f32, &mut [f32]);
pub(crate) type StoreRow = fn(&[f32], Quant, Layout, &mut [u8]);
pub(crate) type ShuffleRow = fn(&[f32], Shuffle, Quant, Layout, &mut [u8]);
pub(crate) type ThreeRows = fn(&Coefficients, &mut [f32], &mut [f32], &mut [f32]);

pub(crate) type LumaRow = fn(&Coefficients, &[f32], &[f32], &[f32], &mut [f32]);
pub(crate) type SmoothRow = fn(&mut [f32], &[f32], &mut [i16], &[f32], f32);

/// The row kernels. See [`plain`] for what each one does.
pub(crate) struct Kernels {
    pub load_row: LoadRow,
    pub store_row: StoreRow,
    pub shuffle_row: ShuffleRow,
    pub shuffle_row_f32: fn(&[f32], Shuffle, &mut [f32]),
    pub hfilter: fn(&[f32], &Taps, &mut [f32]),
    pub vfilter: fn(Ring<'_>, usize, &[f32], &mut [f32]),
    pub mix_row: fn(&mut [u8], &[u8], f32, Layout, u8),
    pub to_rgb: ThreeRows,
    pub to_yuv: ThreeRows,
    pub luma: LumaRow,
    pub smooth_row: SmoothRow,
}

static PLAIN: Kernels = Kernels {
    load_row: plain::load_row,
    store_row: plain::store_row,
    shuffle_row: plain::shuffle_row,
    shuffle_row_f32: plain::shuffle_row_f32,
    hfilter: plain::hfilter,
    vfilter: plain::vfilter,
    mix_row: plain::mix_row,
    to_rgb: plain::to_rgb,
    to_yuv: plain::to_yuv,
    luma: plain::luma,
    smooth_row: plain::smooth_row,
};

thread_local! {
    static FORCED: Cell<Backend> = const { Cell::new(Backend::Auto) };
}

/// Runs `f` with the kernels of `backend` on this thread: for tests and benchmarks.
pub fn with_backend<T>(backend: Backend, f: impl FnOnce() -> T) -> T {
    struct Restore(Backend);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(backend));
    f()
}

/// The kernels of [`Backend::Auto`], by name: `plain` or `avx2`.
pub fn backend_name() -> &'static str {
    if std::ptr::eq(fastest(), &PLAIN) {
        "plain"
    } else {
        "avx2"
    }
}

pub(crate) fn current() -> &'static Kernels {
    match FORCED.get() {
        Backend::Plain => &PLAIN,
        Backend::Auto => fastest(),
    }
}

fn fastest() -> &'static Kernels {
    static FASTEST: OnceLock<&'static Kernels> = OnceLock::new();
    FASTEST.get_or_init(|| {
        let off = std::env::var_os("GSTNEURAL_SIMD").is_some_and(|v| v == "off" || v == "0");
        if off { &PLAIN } else { detect() }
    })
}

#[cfg(target_arch = "x86_64")]
fn detect() -> &'static Kernels {
    crate::simd::detect().unwrap_or(&PLAIN)
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> &'static Kernels {
    &PLAIN
}
