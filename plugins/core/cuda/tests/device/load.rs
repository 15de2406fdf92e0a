//! Frames into tensors.

use gstneural_cuda::{
    Channels, DeviceFilter, Element, Order, TensorView, twins, twins::HostTensor,
};
use gstneural_pixels::{ChromaUp, Color, Family, FrameRef, PixelFormat, Rect, YuvRgb, load};
use half::f16;

use crate::{FORMATS, Rig, SIZES, colors};

/// Tiles that reach over every edge, and one inside.
fn corners((w, h): (usize, usize)) -> [(isize, isize); 3] {
    [(0, 0), (-3, -2), (w as isize - 4, h as isize - 3)]
}

/// Tile sizes, elements and orders that are tried in turn.
const TENSORS: [(usize, usize, Element, Order); 5] = [
    (8, 8, Element::F32, Order::Nchw),
    (37, 19, Element::F16, Order::Nchw),
    (64, 40, Element::F32, Order::Nhwc),
    (12, 9, Element::F16, Order::Nhwc),
    (33, 8, Element::U8, Order::Nchw),
];

/// A tensor and the part of it that is written.
struct Case {
    host: HostTensor,
    image: (usize, usize, usize),
}

impl Case {
    /// A tensor with more images and channels than are written: what is beside stays.
    fn new(turn: usize, channels: usize) -> Self {
        let (w, h, element, order) = TENSORS[turn % TENSORS.len()];
        let mut host = HostTensor::new(element, order, [2, channels + 3, h, w]);
        host.bytes.fill(0x11);
        Self {
            host,
            image: (1, 2, channels),
        }
    }

    fn view(&self) -> TensorView {
        let (n, first, channels) = self.image;
        self.host.tensor().image(n, first, channels).unwrap()
    }

    /// The written channels against the CPU path's planes.
    fn compare(&self, planar: &[f32], what: &str) {
        let [_, c, h, w] = self.host.tensor().shape();
        let (n, first, channels) = self.image;
        for k in 0..channels {
            for y in 0..h {
                for x in 0..w {
                    let at = match self.host.tensor().order() {
                        Order::Nchw => ((n * c + first + k) * h + y) * w + x,
                        Order::Nhwc => ((n * h + y) * w + x) * c + first + k,
                    };
                    let wanted = planar[(k * h + y) * w + x];
                    let wanted = match self.host.tensor().element() {
                        Element::F32 => wanted,
                        Element::F16 => f16::from_f32(wanted).to_f32(),
                        Element::U8 => f32::from((wanted + 0.5).clamp(0.0, 255.0) as u8),
                    };
                    let got = self.host.element(at);
                    assert_eq!(got.to_bits(), wanted.to_bits(), "{what}: {k} ({x}, {y})");
                }
            }
        }
    }
}

/// Runs one case three ways.
fn try_case(
    rig: &mut Rig,
    turn: usize,
    channels: usize,
    what: &str,
    on_device: impl Fn(&Rig, &TensorView),
    by_twin: impl Fn(&TensorView, &mut HostTensor),
    on_cpu: impl Fn(usize, usize) -> Vec<f32>,
) {
    let mut case = Case::new(turn, channels);
    let (tensor, memory) = rig.tensor(&case.host);
    let (n, first, count) = case.image;
    on_device(rig, &tensor.image(n, first, count).unwrap());
    let view = case.view();
    by_twin(&view, &mut case.host);
    case.compare(&on_cpu(view.width(), view.height()), what);
    assert_eq!(
        rig.bytes(&memory),
        case.host.bytes,
        "{what}: kernel and twin"
    );
}

fn rect((x, y): (isize, isize), w: usize, h: usize) -> Rect {
    Rect { x, y, w, h }
}

fn white_of(turn: usize) -> f32 {
    // Bytes are of networks in 0..=255 only.
    match TENSORS[turn % TENSORS.len()].2 {
        Element::U8 => 255.0,
        _ => [1.0, 255.0][turn / 2 % 2],
    }
}

fn code(format: PixelFormat) -> f32 {
    1.0 / ((1u32 << format.info().depth) - 1) as f32
}

#[test]
fn components_as_they_are() {
    let mut rig = Rig::new(1);
    let mut turn = 0;
    for &format in FORMATS {
        for size in SIZES {
            let frame = rig.noise(format, size, Color::default());
            let on_device = rig.up(&frame);
            let host = frame.as_ref();
            for at in corners(size) {
                turn += 1;
                let (white, c) = (white_of(turn), turn % format.info().components.len());
                let channels = 1 + 2 * (turn % 2);
                try_case(
                    &mut rig,
                    turn,
                    channels,
                    &format!("{format:?} {size:?} {at:?}"),
                    |r, view| {
                        r.kernels
                            .load_component(&r.stream, &on_device.frame(), c, at, white, view)
                            .unwrap();
                    },
                    |view, memory| twins::load_component(&host, c, at, white, view, memory),
                    |w, h| {
                        let mut plane = vec![0.0; w * h];
                        let scale = white * code(format);
                        load(
                            &host.component(c),
                            rect(at, w, h),
                            scale,
                            0.0,
                            &mut plane,
                            w,
                        );
                        plane.repeat(channels)
                    },
                );
            }
        }
    }
}

#[test]
fn rgb_and_its_luma() {
    let mut rig = Rig::new(2);
    let mut turn = 0;
    let colors = colors();
    for &format in FORMATS.iter().filter(|f| f.info().family == Family::Rgb) {
        for size in SIZES {
            for at in corners(size) {
                turn += 1;
                let color = colors[turn % colors.len()];
                let frame = rig.noise(format, size, color);
                let on_device = rig.up(&frame);
                let host = frame.as_ref();
                let white = white_of(turn);
                let order = [Channels::Rgb, Channels::Bgr][turn % 2];
                let one = |c: usize, scale: f32, w: usize, h: usize| {
                    let mut plane = vec![0.0; w * h];
                    load(
                        &host.component(c),
                        rect(at, w, h),
                        scale,
                        0.0,
                        &mut plane,
                        w,
                    );
                    plane
                };
                try_case(
                    &mut rig,
                    turn,
                    3,
                    &format!("{format:?} {size:?} {at:?} {order:?}"),
                    |r, view| {
                        r.kernels
                            .load_rgb(&r.stream, &on_device.frame(), order, at, white, view)
                            .unwrap();
                    },
                    |view, memory| twins::load_rgb(&host, order, at, white, view, memory),
                    |w, h| {
                        let cs = if order == Channels::Bgr {
                            [2, 1, 0]
                        } else {
                            [0, 1, 2]
                        };
                        cs.map(|c| one(c, white * code(format), w, h)).concat()
                    },
                );
                try_case(
                    &mut rig,
                    turn,
                    1,
                    &format!("luma of {format:?} {size:?} {at:?} {color:?}"),
                    |r, view| {
                        r.kernels
                            .load_luma_of_rgb(&r.stream, &on_device.frame(), at, white, view)
                            .unwrap();
                    },
                    |view, memory| twins::load_luma_of_rgb(&host, at, white, view, memory),
                    |w, h| {
                        let [r, g, b] = [0, 1, 2].map(|c| one(c, code(format), w, h));
                        let mut y = vec![0.0; w * h];
                        YuvRgb::new(&color, 8).luma(&r, &g, &b, &mut y);
                        y.iter().map(|v| v * white).collect()
                    },
                );
            }
        }
    }
}

/// As `inference/src/source.rs`: chroma upsampled, converted row by row, clamped, times white.
fn rgb_of_yuv(
    frame: &FrameRef<'_>,
    at: (isize, isize),
    white: f32,
    order: &[usize],
    (w, h): (usize, usize),
) -> Vec<f32> {
    let (width, height) = (frame.width(), frame.height());
    let info = frame.format().info();
    let code = code(frame.format());
    let (sub_w, sub_h) = (info.components[1].sub_w, info.components[1].sub_h);
    let mut up = ChromaUp::new(width, height, sub_w, sub_h, frame.color().site).unwrap();
    let chroma = [1, 2].map(|c| {
        let mut plane = vec![0.0; width * height];
        up.run_to_f32(&frame.component(c), code, 0.0, &mut plane, width);
        plane
    });
    let yuv = YuvRgb::new(&frame.color(), info.depth);
    let mut out = vec![0.0; order.len() * w * h];
    for row in 0..h {
        let mut r = vec![0.0; w];
        let line = rect((at.0, at.1 + row as isize), w, 1);
        load(&frame.component(0), line, code, 0.0, &mut r, w);
        let y = line.y.clamp(0, height as isize - 1) as usize;
        let [mut g, mut b] = [0, 1].map(|c: usize| -> Vec<f32> {
            let inside = |i: usize| (at.0 + i as isize).clamp(0, width as isize - 1) as usize;
            (0..w).map(|i| chroma[c][y * width + inside(i)]).collect()
        });
        yuv.to_rgb(&mut r, &mut g, &mut b);
        for (i, c) in order.iter().enumerate() {
            let from = [&r, &g, &b][*c];
            let to = &mut out[(i * h + row) * w..][..w];
            to.iter_mut()
                .zip(from)
                .for_each(|(t, v)| *t = v.clamp(0.0, 1.0) * white);
        }
    }
    out
}

#[test]
fn rgb_of_yuv_in_every_colorimetry() {
    let mut rig = Rig::new(3);
    let mut turn = 0;
    for &format in FORMATS.iter().filter(|f| f.info().family == Family::Yuv) {
        for color in colors() {
            for size in SIZES {
                turn += 1;
                let frame = rig.noise(format, size, color);
                let on_device = rig.up(&frame);
                let host = frame.as_ref();
                let white = white_of(turn);
                let at = corners(size)[turn % 3];
                let (channels, order) = match turn % 4 {
                    0 => (Channels::Bgr, vec![2, 1, 0]),
                    1 => (Channels::One(turn % 3), vec![turn % 3]),
                    _ => (Channels::Rgb, vec![0, 1, 2]),
                };
                let filter =
                    DeviceFilter::chroma_up(&rig.stream, format, color.site, size).unwrap();
                let chroma = format.info().components[1];
                let up =
                    ChromaUp::new(size.0, size.1, chroma.sub_w, chroma.sub_h, color.site).unwrap();
                try_case(
                    &mut rig,
                    turn,
                    order.len(),
                    &format!("{format:?} {size:?} {at:?} {color:?} {channels:?}"),
                    |r, view| {
                        let frame = on_device.frame();
                        r.kernels
                            .load_rgb_of_yuv(&r.stream, &frame, &filter, channels, at, white, view)
                            .unwrap();
                    },
                    |view, memory| {
                        let up = up.resampler();
                        twins::load_rgb_of_yuv(&host, up, channels, at, white, view, memory);
                    },
                    |w, h| rgb_of_yuv(&host, at, white, &order, (w, h)),
                );
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let rig = &mut Rig::new(4);
    let nv12 = rig.noise(PixelFormat::Nv12, (16, 16), Color::default());
    let nv12 = rig.up(&nv12);
    let (tensor, _memory) = rig.tensor(&HostTensor::new(Element::F32, Order::Nchw, [1, 3, 8, 8]));
    let view = tensor.image(0, 0, 3).unwrap();
    let (k, s, f) = (&rig.kernels, &rig.stream, &nv12.frame());
    let at = (0, 0);
    assert!(k.load_component(s, f, 3, at, 1.0, &view).is_err());
    assert!(k.load_component(s, f, 0, at, f32::NAN, &view).is_err());
    assert!(
        k.load_component(s, f, 0, (isize::MAX, 0), 1.0, &view)
            .is_err()
    );
    assert!(k.load_rgb(s, f, Channels::Rgb, at, 1.0, &view).is_err());
    assert!(k.load_luma_of_rgb(s, f, at, 1.0, &view).is_err());
    let up =
        |size| DeviceFilter::chroma_up(s, PixelFormat::Nv12, Color::default().site, size).unwrap();
    let load = |up: &DeviceFilter, channels| k.load_rgb_of_yuv(s, f, up, channels, at, 1.0, &view);
    assert!(load(&up((18, 16)), Channels::Rgb).is_err());
    assert!(load(&up((16, 16)), Channels::One(0)).is_err());
    assert!(load(&up((16, 16)), Channels::One(3)).is_err());
    assert!(load(&up((16, 16)), Channels::Rgb).is_ok());
    assert!(tensor.image(1, 0, 3).is_err());
    assert!(tensor.image(0, 1, 3).is_err());
    assert!(tensor.image(0, 0, 3).unwrap().shuffled(2, true).is_err());
}
