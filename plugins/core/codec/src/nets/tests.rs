#![allow(clippy::unwrap_used)]

mod kernels;
mod nets;
mod reference;
