//! SIMD twins of the plain kernels, with the same results. All `unsafe` code of the networks lies
//! in this module.

pub(super) mod avx2;
pub(super) mod vnni;
