//! Twins of `kernels/load.cu`.

use gstneural_pixels::{FrameRef, Resampler, YuvRgb};

use super::{HostTensor, inside, share, to_rgb, to_yuv, unit};
use crate::{kernels::Channels, tensor::TensorView};

fn code(frame: &FrameRef<'_>) -> f32 {
    1.0 / ((1u32 << frame.format().info().depth) - 1) as f32
}

/// Every (x, y) of the view, with the pixel of the frame that it shows.
fn pixels(
    frame: &FrameRef<'_>,
    at: (isize, isize),
    to: &TensorView,
) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
    let (width, height) = (frame.width(), frame.height());
    let (w, h) = (to.width(), to.height());
    (0..h).flat_map(move |y| {
        (0..w).map(move |x| {
            let from = |a: isize, i: usize, n| inside(a + i as isize, n);
            (x, y, from(at.0, x, width), from(at.1, y, height))
        })
    })
}

/// Twin of `load_same`: [`Kernels::load_component`](crate::Kernels::load_component).
pub fn load_component(
    frame: &FrameRef<'_>,
    component: usize,
    at: (isize, isize),
    white: f32,
    to: &TensorView,
    memory: &mut HostTensor,
) {
    let scale = white * code(frame);
    let comp = frame.component(component);
    let (width, height) = (comp.width(), comp.height());
    for y in 0..to.height() {
        for x in 0..to.width() {
            let (from_x, from_y) = (at.0 + x as isize, at.1 + y as isize);
            let v = share(&comp, inside(from_x, width), inside(from_y, height), scale);
            for c in 0..to.channels() {
                memory.set(to, c, x, y, v);
            }
        }
    }
}

fn order(channels: Channels) -> Vec<usize> {
    match channels {
        Channels::Rgb => vec![0, 1, 2],
        Channels::Bgr => vec![2, 1, 0],
        Channels::One(c) => vec![c],
    }
}

/// Twin of `load_each`: [`Kernels::load_rgb`](crate::Kernels::load_rgb).
pub fn load_rgb(
    frame: &FrameRef<'_>,
    channels: Channels,
    at: (isize, isize),
    white: f32,
    to: &TensorView,
    memory: &mut HostTensor,
) {
    let scale = white * code(frame);
    for (i, c) in order(channels).into_iter().enumerate() {
        let comp = frame.component(c);
        for (x, y, from_x, from_y) in pixels(frame, at, to) {
            memory.set(to, i, x, y, share(&comp, from_x, from_y, scale));
        }
    }
}

/// Twin of `load_luma_of_rgb`: [`Kernels::load_luma_of_rgb`](crate::Kernels::load_luma_of_rgb).
pub fn load_luma_of_rgb(
    frame: &FrameRef<'_>,
    at: (isize, isize),
    white: f32,
    to: &TensorView,
    memory: &mut HostTensor,
) {
    let scale = code(frame);
    let k = YuvRgb::new(&frame.color(), frame.format().info().depth).coefficients();
    for (x, y, from_x, from_y) in pixels(frame, at, to) {
        let rgb = [0, 1, 2].map(|c| share(&frame.component(c), from_x, from_y, scale));
        let v = to_yuv(&k, rgb)[0] * white;
        for c in 0..to.channels() {
            memory.set(to, c, x, y, v);
        }
    }
}

/// Twin of `load_rgb_of_yuv`: [`Kernels::load_rgb_of_yuv`](crate::Kernels::load_rgb_of_yuv).
pub fn load_rgb_of_yuv(
    frame: &FrameRef<'_>,
    up: &Resampler,
    channels: Channels,
    at: (isize, isize),
    white: f32,
    to: &TensorView,
    memory: &mut HostTensor,
) {
    let scale = code(frame);
    let k = YuvRgb::new(&frame.color(), frame.format().info().depth).coefficients();
    let [luma, cb, cr] = [0, 1, 2].map(|c| frame.component(c));
    for (x, y, from_x, from_y) in pixels(frame, at, to) {
        let chroma = |comp| filtered_share(up, comp, from_x, from_y, scale);
        let luma = share(&luma, from_x, from_y, scale);
        let rgb = to_rgb(&k, luma, chroma(&cb), chroma(&cr));
        for (i, c) in order(channels).into_iter().enumerate() {
            memory.set(to, i, x, y, unit(rgb[c]) * white);
        }
    }
}

fn filtered_share(
    filter: &Resampler,
    comp: &gstneural_pixels::CompRef<'_>,
    x: usize,
    y: usize,
    scale: f32,
) -> f32 {
    super::filtered(filter, x, y, |i, j| share(comp, i, j, scale))
}
