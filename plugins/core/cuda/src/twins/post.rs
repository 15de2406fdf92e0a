//! Twins of `kernels/post.cu`.

use gstneural_pixels::{CompRef, FrameMut, FrameRef, Resampler, YuvRgb, subsampled};

use super::{HostTensor, filtered, put, share, to_yuv};
use crate::kernels::Findings;

/// Twin of `resample`: a component of [`Kernels::scale`](crate::Kernels::scale).
pub fn scale_component(filter: &Resampler, from: &FrameRef<'_>, to: &mut FrameMut<'_>, c: usize) {
    let source = from.component(c);
    let mut comp = to.component_mut(c);
    for y in 0..comp.height() {
        for x in 0..comp.width() {
            let v = filtered(filter, x, y, |i, j| share(&source, i, j, 1.0));
            put(&mut comp, x, y, v, 1.0, 0.0);
        }
    }
}

/// Twin of `mix`: [`Kernels::mix`](crate::Kernels::mix) with `weight` from 0 to 1, exclusive.
pub fn mix(frame: &mut FrameMut<'_>, classical: &FrameRef<'_>, weight: f32) {
    let info = frame.format().info();
    for c in (0..info.components.len()).filter(|c| Some(*c) != info.alpha) {
        let mut comp = frame.component_mut(c);
        for y in 0..comp.height() {
            for x in 0..comp.width() {
                let d = comp.as_ref().get(x, y) as f32;
                let base = classical.component(c).get(x, y) as f32;
                put(&mut comp, x, y, base + weight * (d - base), 1.0, 0.0);
            }
        }
    }
}

/// Twin of `replace_luma`: [`Kernels::replace_luma`](crate::Kernels::replace_luma).
pub fn replace_luma(frame: &mut FrameMut<'_>, luma: &CompRef<'_>) {
    let depth = frame.format().info().depth;
    let k = YuvRgb::new(&frame.color(), depth).coefficients();
    let max = ((1u32 << depth) - 1) as f32;
    for y in 0..frame.height() {
        for x in 0..frame.width() {
            let rgb = [0, 1, 2].map(|c| share(&frame.as_ref().component(c), x, y, 1.0 / max));
            let wanted = share(luma, x, y, 1.0 / luma.max_value() as f32);
            let delta = (wanted - to_yuv(&k, rgb)[0]) * k.y_gain;
            for (c, v) in rgb.into_iter().enumerate() {
                put(&mut frame.component_mut(c), x, y, v + delta, max, 0.0);
            }
        }
    }
}

/// Twin of `differs`: [`Kernels::changed`](crate::Kernels::changed) of one rectangle (x, y, width,
/// height) that lies within the frames.
pub fn differs(
    a: &FrameRef<'_>,
    b: &FrameRef<'_>,
    (x, y, w, h): (usize, usize, usize, usize),
) -> bool {
    let info = a.format().info();
    (0..info.planes).any(|p| {
        let Some(comp) = info.components.iter().find(|c| c.plane == p) else {
            return false;
        };
        let unit = comp.step * info.sample_bytes;
        let columns = (x >> comp.sub_w) * unit..subsampled(x + w, comp.sub_w) * unit;
        let mut rows = y >> comp.sub_h..subsampled(y + h, comp.sub_h);
        let row = |f: &FrameRef<'_>, y: usize| {
            let plane = f.plane(p);
            plane.data[y * plane.stride..][columns.clone()].to_vec()
        };
        rows.any(|y| row(a, y) != row(b, y))
    })
}

/// Twin of `inspect`: [`Kernels::inspect`](crate::Kernels::inspect).
pub fn inspect(tensor: &HostTensor) -> Findings {
    let values = (0..tensor.tensor().elements()).map(|i| tensor.element(i));
    let (finite, rest): (Vec<f32>, Vec<f32>) = values.partition(|v| v.is_finite());
    Findings {
        not_finite: rest.len() as u32,
        greatest: finite.into_iter().fold(0.0, f32::max),
    }
}
