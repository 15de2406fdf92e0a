//! Tensors into frames.

use gstneural_cuda::{
    Cargo, Channels, DeviceBuffer, DeviceFilter, Element, Order, Region, TensorView, twins,
    twins::HostTensor,
};
use gstneural_pixels::{
    ChromaDown, Color, Family, FrameBuf, FrameMut, PixelFormat, YuvRgb, shuffle_f32, store,
    store_shuffled,
};

use crate::{FORMATS, Rig, SIZES, assert_equal, colors};

/// A network's output: `channels` of `size` through depth-to-space by `block`.
struct Output {
    host: HostTensor,
    block: usize,
    crd: bool,
    channels: usize,
    tile: (usize, usize),
}

impl Output {
    fn new(rig: &mut Rig, turn: usize, channels: usize, size: (usize, usize), white: f32) -> Self {
        let block = [1, 2, 3, 4][turn % 4];
        let tile = (size.0.div_ceil(block), size.1.div_ceil(block));
        let element = [Element::F32, Element::F16][turn / 4 % 2];
        let order = [Order::Nchw, Order::Nhwc][turn / 8 % 2];
        let shape = [2, channels * block * block, tile.1, tile.0];
        Self {
            host: rig.result(element, order, shape, white),
            block,
            crd: !turn.is_multiple_of(3),
            channels,
            tile,
        }
    }

    fn view(&self, of: &gstneural_cuda::DeviceTensor) -> TensorView {
        let image = of.image(1, 0, self.channels * self.block * self.block);
        image.unwrap().shuffled(self.block, self.crd).unwrap()
    }

    /// The second image as planar f32, as the CPU's staging has it.
    fn planar(&self) -> Vec<f32> {
        let [_, c, h, w] = self.host.tensor().shape();
        let mut out = Vec::new();
        for k in 0..c {
            for i in 0..h * w {
                out.push(self.host.element(match self.host.tensor().order() {
                    Order::Nchw => (c + k) * h * w + i,
                    Order::Nhwc => (h * w + i) * c + k,
                }));
            }
        }
        out
    }

    /// Where channel `c` begins, and the distance of its sub-planes.
    fn channel(&self, c: usize) -> (usize, usize) {
        let (area, squared) = (self.tile.0 * self.tile.1, self.block * self.block);
        match self.crd {
            true => (c * squared * area, area),
            false => (c * area, self.channels * area),
        }
    }

    /// As `TileSink::put`.
    fn on_cpu(&self, c: usize, to: &mut FrameMut<'_>, component: usize, white: f32, r: Region) {
        let planar = self.planar();
        let mut to = to.component_mut(component);
        let gain = to.max_value() as f32 / white;
        let (start, distance) = self.channel(c);
        let (w, h) = r.size;
        if self.block == 1 {
            let from = &planar[start + r.from.1 * self.tile.0 + r.from.0..];
            store(from, self.tile.0, w, h, gain, 0.0, &mut to, r.to.0, r.to.1);
        } else {
            let (ox, oy) = r.from;
            let from = &planar[start..];
            let row = self.tile.0;
            let (x, y) = r.to;
            store_shuffled(
                from, distance, row, self.block, ox, oy, w, h, gain, 0.0, &mut to, x, y,
            );
        }
    }

    /// As `TileSink::accumulate` without blending: channel `c` of the whole.
    fn plane(&self, c: usize, (w, h): (usize, usize)) -> Vec<f32> {
        let planar = self.planar();
        let (start, distance) = self.channel(c);
        let mut out = vec![0.0; w * h];
        let (from, row) = (&planar[start..], self.tile.0);
        shuffle_f32(from, distance, row, self.block, 0, 0, w, h, &mut out, w);
        out
    }
}

/// A part of a tile that goes somewhere into the frame, and all of it.
fn regions((w, h): (usize, usize)) -> [Region; 2] {
    let part = Region {
        from: (w / 3, h / 4),
        to: (w / 5, h / 2),
        size: (w / 2, h / 3),
    };
    [Region::whole(w, h), part]
}

#[test]
fn channels_rounded_into_components() {
    let mut rig = Rig::new(11);
    let mut turn = 0;
    for &format in FORMATS {
        let info = format.info();
        let components = if info.family == Family::Rgb { 3 } else { 1 };
        for size in SIZES {
            for region in regions(size) {
                turn += 1;
                let white = [1.0, 255.0][turn % 2];
                let output = Output::new(&mut rig, turn, components, size, white);
                let before = rig.noise(format, size, Color::default());
                let (tensor, _memory) = rig.tensor(&output.host);
                let frame = rig.up(&before);
                // Every other time B, G, R.
                let swap = |c: usize| if turn % 2 == 0 { components - 1 - c } else { c };
                let pairs: Vec<_> = (0..components).map(|c| (c, swap(c))).collect();
                rig.kernels
                    .store(
                        &rig.stream,
                        &output.view(&tensor),
                        &pairs,
                        white,
                        &frame.frame(),
                        region,
                    )
                    .unwrap();
                let (mut twin, mut cpu) = (before.clone(), before);
                let view = output.view(output.host.tensor());
                twins::store(
                    &output.host,
                    &view,
                    &pairs,
                    white,
                    &mut twin.as_mut(),
                    region,
                );
                for (channel, component) in pairs {
                    output.on_cpu(channel, &mut cpu.as_mut(), component, white, region);
                }
                let what = format!("{size:?} {region:?} block {}", output.block);
                assert_equal(&twin.as_ref(), &cpu.as_ref(), &format!("twin, {what}"));
                assert_equal(&rig.down(&frame).as_ref(), &cpu.as_ref(), &what);
            }
        }
    }
}

/// As `TileSink::convert_to_yuv` and `ChromaDown`.
fn yuv_of_rgb(mut rgb: [Vec<f32>; 3], white: f32, frame: &mut FrameBuf) {
    let (w, h) = (frame.width(), frame.height());
    let (format, color) = (frame.format(), frame.color());
    let info = format.info();
    let max = ((1u32 << info.depth) - 1) as f32;
    let inverse = 1.0 / white;
    for plane in &mut rgb {
        plane
            .iter_mut()
            .for_each(|v| *v = (*v * inverse).clamp(0.0, 1.0));
    }
    let [y, u, v] = &mut rgb;
    YuvRgb::new(&color, info.depth).to_yuv(y, u, v);
    let chroma = info.components[1];
    let mut down = ChromaDown::new(w, h, chroma.sub_w, chroma.sub_h, color.site).unwrap();
    let mut frame = frame.as_mut();
    store(y, w, w, h, max, 0.0, &mut frame.component_mut(0), 0, 0);
    down.run_from_f32(u, w, max, 0.0, &mut frame.component_mut(1));
    down.run_from_f32(v, w, max, 0.0, &mut frame.component_mut(2));
}

#[test]
fn rgb_as_yuv_in_every_colorimetry() {
    let mut rig = Rig::new(12);
    let mut turn = 0;
    for &format in FORMATS.iter().filter(|f| f.info().family == Family::Yuv) {
        for color in colors() {
            for size in SIZES {
                turn += 1;
                let white = [1.0, 255.0][turn % 2];
                let channels = [Channels::Rgb, Channels::Bgr][turn / 2 % 2];
                let output = Output::new(&mut rig, turn, 3, size, white);
                let (tensor, _memory) = rig.tensor(&output.host);
                let before = rig.noise(format, size, color);
                let frame = rig.up(&before);
                let filter =
                    DeviceFilter::chroma_down(&rig.stream, format, color.site, size).unwrap();
                rig.kernels
                    .store_rgb_as_yuv(
                        &rig.stream,
                        &output.view(&tensor),
                        channels,
                        white,
                        &frame.frame(),
                        &filter,
                    )
                    .unwrap();
                let (mut twin, mut cpu) = (before.clone(), before);
                let (sub_w, sub_h) = {
                    let c = format.info().components[1];
                    (c.sub_w, c.sub_h)
                };
                let down = ChromaDown::new(size.0, size.1, sub_w, sub_h, color.site).unwrap();
                let view = output.view(output.host.tensor());
                let to = &mut twin.as_mut();
                twins::store_rgb_as_yuv(&output.host, &view, channels, white, to, down.resampler());
                let order = if channels == Channels::Bgr {
                    [2, 1, 0]
                } else {
                    [0, 1, 2]
                };
                yuv_of_rgb(order.map(|c| output.plane(c, size)), white, &mut cpu);
                let what = format!("{size:?} {color:?} {channels:?} block {}", output.block);
                assert_equal(&twin.as_ref(), &cpu.as_ref(), &format!("twin, {what}"));
                assert_equal(&rig.down(&frame).as_ref(), &cpu.as_ref(), &what);
            }
        }
    }
}

fn buffer(rig: &Rig, values: &[f32]) -> DeviceBuffer {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
    DeviceBuffer::with(&rig.stream, &bytes, Cargo::Table).unwrap()
}

#[test]
fn tiles_gathered_and_blended() {
    let mut rig = Rig::new(13);
    for turn in 0..16 {
        let (size, whole) = ((13, 9), (40, 22));
        let output = Output::new(&mut rig, turn, 3, size, 1.0);
        let (tensor, _memory) = rig.tensor(&output.host);
        let planes = rig.result(Element::F32, Order::Nchw, [1, 4, whole.1, whole.0], 1.0);
        let (target, memory) = rig.tensor(&planes);
        let region = Region {
            from: (2, 1),
            to: (7 + turn, 5),
            size: (10, 8),
        };
        let ramp = |n: usize| -> Vec<f32> { (0..n).map(|i| (i as f32 + 0.5) / 10.0).collect() };
        let (across, down) = (ramp(10), ramp(8));
        let blended = turn % 2 == 0;
        let buffers = (buffer(&rig, &across), buffer(&rig, &down));
        let to = target.image(0, 0, 4).unwrap();
        rig.kernels
            .gather(
                &rig.stream,
                &output.view(&tensor),
                &to,
                (0, 1, 3),
                region,
                blended.then_some((&buffers.0, &buffers.1)),
            )
            .unwrap();
        let mut twin = planes.clone();
        let to = planes.tensor().image(0, 0, 4).unwrap();
        twins::gather(
            &output.host,
            &output.view(output.host.tensor()),
            &mut twin,
            &to,
            (0, 1, 3),
            region,
            blended.then_some((&across, &down)),
        );
        let mut kernel = planes.clone();
        kernel.bytes = rig.bytes(&memory);
        for i in 0..planes.tensor().elements() {
            // A device's NaN has other bits than a processor's.
            let (a, b) = (kernel.element(i), twin.element(i));
            let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            assert!(same, "{turn} element {i}: kernel {a}, twin {b}");
        }
        // As `TileSink::accumulate`.
        for c in 0..3 {
            let full = (output.tile.0 * output.block, output.tile.1 * output.block);
            let from = output.plane(c, full);
            for (y, wy) in down.iter().enumerate() {
                for (x, wx) in across.iter().enumerate() {
                    let at = ((c + 1) * whole.1 + region.to.1 + y) * whole.0 + region.to.0 + x;
                    let v = from[(region.from.1 + y) * full.0 + region.from.0 + x];
                    let wanted = match blended {
                        true => planes.element(at) + v * wx * wy,
                        false => v,
                    };
                    let got = twin.element(at);
                    let same =
                        got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan());
                    assert!(same, "{turn} {c} ({x}, {y}): {got} {wanted}");
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut rig = Rig::new(14);
    let frame = rig.noise(PixelFormat::Nv12, (16, 16), Color::default());
    let frame = rig.up(&frame);
    let host = rig.result(Element::F16, Order::Nchw, [1, 3, 16, 16], 1.0);
    let (tensor, _memory) = rig.tensor(&host);
    let view = tensor.image(0, 0, 3).unwrap();
    let (k, s, f) = (&rig.kernels, &rig.stream, &frame.frame());
    let whole = Region::whole(16, 16);
    let store = |pairs: &[(usize, usize)], region| k.store(s, &view, pairs, 1.0, f, region);
    assert!(store(&[(3, 0)], whole).is_err());
    assert!(store(&[(0, 3)], whole).is_err());
    assert!(store(&[(0, 1)], whole).is_err(), "chroma is smaller");
    assert!(store(&[(0, 0); 4], whole).is_err());
    for (from, to) in [
        ((1, 0), (0, 0)),
        ((0, 0), (0, 1)),
        ((usize::MAX, 0), (0, 0)),
    ] {
        let region = Region { from, to, ..whole };
        assert!(store(&[(0, 0)], region).is_err(), "{region:?}");
    }
    assert!(store(&[(0, 0)], whole).is_ok());
    let down = |size| {
        DeviceFilter::chroma_down(s, PixelFormat::Nv12, Color::default().site, size).unwrap()
    };
    let yuv = |c, size| k.store_rgb_as_yuv(s, &view, c, 1.0, f, &down(size));
    assert!(yuv(Channels::Rgb, (16, 18)).is_err());
    assert!(yuv(Channels::One(0), (16, 16)).is_err());
    assert!(yuv(Channels::Rgb, (16, 16)).is_ok());
    let gather = |channels, weights| k.gather(s, &view, &view, channels, whole, weights);
    assert!(gather((0, 0, 3), None).is_err(), "planes of f16");
    let few = buffer(&rig, &[1.0; 15]);
    let host = rig.result(Element::F32, Order::Nchw, [1, 3, 16, 16], 1.0);
    let (planes, _memory) = rig.tensor(&host);
    let to = planes.image(0, 0, 3).unwrap();
    let gather = |channels, weights| {
        rig.kernels
            .gather(&rig.stream, &view, &to, channels, whole, weights)
    };
    assert!(gather((1, 0, 3), None).is_err());
    assert!(gather((0, 0, 3), Some((&few, &few))).is_err());
    assert!(gather((0, 0, 3), None).is_ok());
}
