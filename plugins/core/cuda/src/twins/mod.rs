//! What each kernel computes, in plain Rust, one output after the other as a thread of the kernel
//! does: the kernels' specification. Tests compare a twin with the CPU path of
//! [`gstneural_pixels`] and with the kernel itself, bit by bit; `tests/gpu` does on a GPU.
//!
//! A twin takes what the launcher of its kernel takes, with host memory in place of device memory,
//! and panics where the launcher returns an error.

mod load;
mod post;
mod stabilize;
mod store;

use gstneural_pixels::{Coefficients, CompMut, CompRef, FilterTable, Resampler};
use half::f16;

pub use load::{load_component, load_luma_of_rgb, load_rgb, load_rgb_of_yuv};
pub use post::{differs, inspect, mix, replace_luma, scale_component};
pub use stabilize::StabilizerTwin;
pub use store::{gather, store, store_rgb_as_yuv};

use crate::{
    params::Tensor,
    tensor::{DeviceTensor, Element, Order, TensorView},
};

/// A tensor's memory on the host, seen by the same [`TensorView`]s as one on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Its bytes.
    pub bytes: Vec<u8>,
    tensor: DeviceTensor,
}

/// The address that a host tensor's first byte has in its views.
const BASE: u64 = 4096;

impl HostTensor {
    /// A tensor of zeros of `shape` (N, C, H, W, whatever its order).
    ///
    /// # Panics
    /// For shapes that cannot be.
    pub fn new(element: Element, order: Order, shape: [usize; 4]) -> Self {
        let bytes = shape.iter().product::<usize>() * element.bytes();
        match DeviceTensor::new(BASE, bytes, element, order, shape) {
            Ok(tensor) => Self {
                bytes: vec![0; bytes],
                tensor,
            },
            Err(error) => panic!("{error}"),
        }
    }

    /// What views are made of.
    pub fn tensor(&self) -> &DeviceTensor {
        &self.tensor
    }

    /// Element `at`, in the order of memory.
    pub fn element(&self, at: usize) -> f32 {
        let size = self.tensor.element().bytes();
        let bytes = &self.bytes[at * size..][..size];
        match (self.tensor.element(), bytes) {
            (Element::F32, &[a, b, c, d]) => f32::from_ne_bytes([a, b, c, d]),
            (Element::F16, &[a, b]) => f16::from_ne_bytes([a, b]).to_f32(),
            (Element::U8, &[v]) => f32::from(v),
            _ => unreachable!("an element's bytes"),
        }
    }

    /// Writes element `at`, rounded to the type: halves to even, bytes half up.
    pub fn set_element(&mut self, at: usize, value: f32) {
        let size = self.tensor.element().bytes();
        let to = &mut self.bytes[at * size..][..size];
        match self.tensor.element() {
            Element::F32 => to.copy_from_slice(&value.to_ne_bytes()),
            Element::F16 => to.copy_from_slice(&f16::from_f32(value).to_ne_bytes()),
            Element::U8 => to[0] = quantise(value, 1.0, 0.0, 255) as u8,
        }
    }

    fn place(&self, view: &TensorView, c: usize, x: usize, y: usize) -> usize {
        let Tensor {
            data,
            channel,
            sub,
            row,
            col,
            block,
            ..
        } = view.raw;
        let first = (data - BASE) as usize / self.tensor.element().bytes();
        let b = block as usize;
        first
            + c * channel as usize
            + ((y % b) * b + x % b) * sub as usize
            + y / b * row as usize
            + x / b * col as usize
    }

    fn get(&self, view: &TensorView, c: usize, x: usize, y: usize) -> f32 {
        self.element(self.place(view, c, x, y))
    }

    fn set(&mut self, view: &TensorView, c: usize, x: usize, y: usize, value: f32) {
        let at = self.place(view, c, x, y);
        self.set_element(at, value);
    }
}

/// Rounds half up and clamps to 0..=max; NaN is 0.
fn quantise(v: f32, scale: f32, bias: f32, max: u32) -> u32 {
    let t = v * scale + bias + 0.5;
    let t = if t > 0.0 { t } else { 0.0 };
    let t = if t < max as f32 { t } else { max as f32 };
    t as u32
}

fn put(to: &mut CompMut<'_>, x: usize, y: usize, v: f32, scale: f32, bias: f32) {
    let max = to.max_value();
    to.set(x, y, quantise(v, scale, bias, max));
}

/// `at` moved into 0..n.
fn inside(at: isize, n: usize) -> usize {
    at.clamp(0, n as isize - 1) as usize
}

fn unit(v: f32) -> f32 {
    v.clamp(0.0, 1.0)
}

/// A component's value as a share of the greatest.
fn share(comp: &CompRef<'_>, x: usize, y: usize, scale: f32) -> f32 {
    comp.get(x, y) as f32 * scale + 0.0
}

/// Output (`x`, `y`) of a separable filter: across first, then down, in ascending order.
fn filtered(filter: &Resampler, x: usize, y: usize, sample: impl Fn(usize, usize) -> f32) -> f32 {
    let (across, down) = filter.tables();
    let tap = |table: &FilterTable<'_>, i: usize, t: usize| {
        (
            table.starts[i] as usize + t,
            table.weights[i * table.taps + t],
        )
    };
    let mut sum = 0.0;
    for j in 0..down.taps {
        let (row, wy) = tap(&down, y, j);
        let mut line = 0.0;
        for i in 0..across.taps {
            let (column, wx) = tap(&across, x, i);
            let v = sample(column, row) * wx;
            line = if i == 0 { v } else { line + v };
        }
        sum = if j == 0 { line * wy } else { sum + line * wy };
    }
    sum
}

/// Y, Cb, Cr to R, G, B.
fn to_rgb(k: &Coefficients, y: f32, u: f32, v: f32) -> [f32; 3] {
    let luma = y * k.y_gain + k.y_bias;
    let (cb, cr) = (u - k.neutral, v - k.neutral);
    [
        luma + cr * k.r_v,
        luma + (cb * k.g_u + cr * k.g_v),
        luma + cb * k.b_u,
    ]
}

/// R, G, B to Y, Cb, Cr.
fn to_yuv(k: &Coefficients, [r, g, b]: [f32; 3]) -> [f32; 3] {
    let luma = r * k.kr + g * k.kg + b * k.kb;
    [
        luma * k.y_scale + k.y_black,
        (b - luma) * k.u_scale + k.neutral,
        (r - luma) * k.v_scale + k.neutral,
    ]
}
