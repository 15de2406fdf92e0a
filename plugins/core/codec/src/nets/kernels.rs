//! The functions that have SIMD twins, and which of them to use.

use std::sync::LazyLock;

use super::{
    dense::{self, Dense, Run},
    depthwise::{self, Depthwise},
    elementwise, layout, search,
};

type Load = fn([&[u16]; 3], [usize; 3], usize, &mut [i16]);
type DenseKernel<T> = fn(&Dense, Run, [&[i16]; 2], &mut [T]);

/// The functions that take the time. All choices give the same results.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    pub(super) name: &'static str,
    pub(super) dense: DenseKernel<i16>,
    pub(super) dense_sums: DenseKernel<i32>,
    pub(super) depthwise: fn(&Depthwise, [&[i16]; 3], &mut [i16]),
    pub(super) add: fn(&mut [i16], &[i16], &[i16]),
    pub(super) difference: fn(&mut [i16], &[i16], &[i16]),
    pub(super) dequantise: fn(&mut [i16], &[i16], &[i32]),
    pub(super) indices: fn(&mut [u8], &[i16], &[i16]),
    pub(super) means: fn(&mut [i16], &[i16], &[i32]),
    pub(super) samples: fn(&mut [i16], &[i16], &[i16]),
    pub(super) load: Load,
    pub(super) store: fn(&[i16], [&mut [u16]; 3], [usize; 3]),
    pub(super) nearest: fn(&[f32], &[f32], &[f32]) -> usize,
}

impl Kernels {
    /// The plain ones, which are the specification.
    pub fn plain() -> Self {
        Self {
            name: "plain",
            dense: dense::plain,
            dense_sums: dense::plain_sums,
            depthwise: depthwise::plain,
            add: elementwise::add,
            difference: elementwise::difference,
            dequantise: elementwise::dequantise,
            indices: elementwise::indices,
            means: elementwise::means,
            samples: elementwise::samples,
            load: layout::load,
            store: layout::store,
            nearest: search::nearest,
        }
    }

    /// All that this processor has, the plain ones first, the fastest last.
    pub fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [super::simd::avx2::detect(), super::simd::vnni::detect()];
        #[cfg(not(target_arch = "x86_64"))]
        let wide = [None; 2];
        std::iter::once(Self::plain())
            .chain(wide.into_iter().flatten())
            .collect()
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        static BEST: LazyLock<Kernels> =
            LazyLock::new(|| Kernels::all().pop().unwrap_or_else(Kernels::plain));
        *BEST
    }

    /// What they are made for: `plain`, `avx2`, `avx512 vnni`.
    pub fn name(&self) -> &'static str {
        self.name
    }
}
