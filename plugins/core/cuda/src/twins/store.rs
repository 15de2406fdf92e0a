//! Twins of `kernels/store.cu`.

use gstneural_pixels::{FrameMut, Resampler, YuvRgb};

use super::{HostTensor, filtered, put, to_yuv, unit};
use crate::{
    kernels::{Channels, Region},
    tensor::TensorView,
};

fn greatest(frame: &FrameMut<'_>) -> f32 {
    ((1u32 << frame.format().info().depth) - 1) as f32
}

/// Twin of `store_each`: [`Kernels::store`](crate::Kernels::store).
pub fn store(
    memory: &HostTensor,
    from: &TensorView,
    pairs: &[(usize, usize)],
    white: f32,
    frame: &mut FrameMut<'_>,
    region: Region,
) {
    let scale = greatest(frame) / white;
    for (channel, component) in pairs {
        let mut comp = frame.component_mut(*component);
        for y in 0..region.size.1 {
            for x in 0..region.size.0 {
                let v = memory.get(from, *channel, region.from.0 + x, region.from.1 + y);
                put(&mut comp, region.to.0 + x, region.to.1 + y, v, scale, 0.0);
            }
        }
    }
}

/// Twin of `store_luma_of_rgb` and `store_chroma_of_rgb`:
/// [`Kernels::store_rgb_as_yuv`](crate::Kernels::store_rgb_as_yuv).
pub fn store_rgb_as_yuv(
    memory: &HostTensor,
    from: &TensorView,
    channels: Channels,
    white: f32,
    frame: &mut FrameMut<'_>,
    down: &Resampler,
) {
    let order = match channels {
        Channels::Bgr => [2, 1, 0],
        _ => [0, 1, 2],
    };
    let (max, inverse) = (greatest(frame), 1.0 / white);
    let k = YuvRgb::new(&frame.color(), frame.format().info().depth).coefficients();
    let pixel = |x, y| to_yuv(&k, order.map(|c| unit(memory.get(from, c, x, y) * inverse)));
    for c in 0..3 {
        let mut comp = frame.component_mut(c);
        for y in 0..comp.height() {
            for x in 0..comp.width() {
                let v = match c {
                    0 => pixel(x, y)[0],
                    _ => filtered(down, x, y, |i, j| pixel(i, j)[c]),
                };
                put(&mut comp, x, y, v, max, 0.0);
            }
        }
    }
}

/// Twin of `gather` and `gather_weighted`: [`Kernels::gather`](crate::Kernels::gather).
pub fn gather(
    memory: &HostTensor,
    from: &TensorView,
    planes: &mut HostTensor,
    to: &TensorView,
    (first, plane, count): (usize, usize, usize),
    region: Region,
    weights: Option<(&[f32], &[f32])>,
) {
    for c in 0..count {
        for y in 0..region.size.1 {
            for x in 0..region.size.0 {
                let v = memory.get(from, first + c, region.from.0 + x, region.from.1 + y);
                let (to_x, to_y) = (region.to.0 + x, region.to.1 + y);
                let v = match weights {
                    None => v,
                    Some((across, down)) => {
                        planes.get(to, plane + c, to_x, to_y) + v * across[x] * down[y]
                    }
                };
                planes.set(to, plane + c, to_x, to_y, v);
            }
        }
    }
}
