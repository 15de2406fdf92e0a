//! Everything that needs a device: on a GPU where there is one, else on the stand-in of `fake/`,
//! which runs the kernels' own source on the CPU. Each kernel is compared with its twin and with the
//! CPU path of `gstneural_pixels`, bit by bit.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod driver;
mod endurance;
mod gstreamer;
mod load;
mod nets;
mod post;
mod stabilize;
mod store;

use gstneural_cuda::{
    Cargo, Device, DeviceBuffer, DeviceFrameBuf, DeviceTensor, Element, Kernels, Order, Stream,
    twins::HostTensor,
};
use gstneural_pixels::{
    ChromaSite, Color, FrameBuf, FrameRef, Matrix, PixelFormat, Range, SiteH, SiteV,
};

/// A device, opened.
struct Rig {
    device: Device,
    stream: Stream,
    kernels: Kernels,
    random: fastrand::Rng,
}

impl Rig {
    fn new(seed: u64) -> Self {
        common::start();
        let device = Device::open(0).unwrap();
        Self {
            stream: Stream::new(&device).unwrap(),
            kernels: Kernels::new(&device).unwrap(),
            random: fastrand::Rng::with_seed(seed),
            device,
        }
    }

    /// A frame of noise with a few flat corners, on the host.
    fn noise(&mut self, format: PixelFormat, (w, h): (usize, usize), color: Color) -> FrameBuf {
        let mut frame = FrameBuf::new(format, w, h, color).unwrap();
        let mut view = frame.as_mut();
        for c in 0..format.info().components.len() {
            let mut comp = view.component_mut(c);
            let max = comp.max_value();
            for y in 0..comp.height() {
                for x in 0..comp.width() {
                    let value = match self.random.u32(0..8) {
                        0 => 0,
                        1 => max,
                        _ => self.random.u32(0..=max),
                    };
                    comp.set(x, y, value);
                }
            }
        }
        frame
    }

    fn up(&self, frame: &FrameBuf) -> DeviceFrameBuf {
        let size = (frame.width(), frame.height());
        let (format, color) = (frame.format(), frame.color());
        let out = DeviceFrameBuf::new(&self.device, format, size.0, size.1, color).unwrap();
        out.frame().upload(&self.stream, &frame.as_ref()).unwrap();
        out
    }

    fn down(&self, frame: &DeviceFrameBuf) -> FrameBuf {
        let f = frame.frame();
        let mut out = FrameBuf::new(f.format(), f.width(), f.height(), f.color()).unwrap();
        f.download(&self.stream, &mut out.as_mut()).unwrap();
        out
    }

    /// A tensor on the device with the content of `host`, and the memory that it lies in.
    fn tensor(&self, host: &HostTensor) -> (DeviceTensor, DeviceBuffer) {
        let memory = DeviceBuffer::with(&self.stream, &host.bytes, Cargo::Frame).unwrap();
        let t = host.tensor();
        let (address, bytes) = (memory.address(), memory.bytes());
        let tensor = DeviceTensor::new(address, bytes, t.element(), t.order(), t.shape()).unwrap();
        (tensor, memory)
    }

    fn bytes(&self, memory: &DeviceBuffer) -> Vec<u8> {
        let mut out = vec![0; memory.bytes()];
        memory
            .download(&self.stream, 0, &mut out, Cargo::Frame)
            .unwrap();
        out
    }

    /// What a network may give: mostly from -0.2 to 1.2 times `white`, now and then no number.
    fn result(
        &mut self,
        element: Element,
        order: Order,
        shape: [usize; 4],
        white: f32,
    ) -> HostTensor {
        const STRANGE: [f32; 5] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e6, -0.0];
        let mut out = HostTensor::new(element, order, shape);
        for i in 0..shape.iter().product() {
            let v = match self.random.u32(0..50) {
                0 => STRANGE[self.random.usize(0..STRANGE.len())],
                _ => (self.random.f32() * 1.4 - 0.2) * white,
            };
            out.set_element(i, v);
        }
        out
    }
}

/// Sizes that everything must bear.
const SIZES: [(usize, usize); 4] = [(1, 1), (3, 5), (34, 18), (53, 31)];

/// The formats of CUDA memory, and what else kernels do.
const FORMATS: &[PixelFormat] = PixelFormat::ALL;

/// Every matrix, range and siting once, not every combination.
fn colors() -> Vec<Color> {
    let matrices = [
        Matrix::Bt601,
        Matrix::Bt709,
        Matrix::Bt2020,
        Matrix::Fcc,
        Matrix::Smpte240m,
    ];
    let sites = [
        (SiteH::Left, SiteV::Center),
        (SiteH::Center, SiteV::Center),
        (SiteH::Left, SiteV::Top),
        (SiteH::Center, SiteV::Top),
        (SiteH::Left, SiteV::Bottom),
        (SiteH::Center, SiteV::Bottom),
    ];
    let both = [Range::Limited, Range::Full];
    let mut out = Vec::new();
    for (i, range) in both.iter().cycle().take(12).enumerate() {
        let (h, v) = sites[i % sites.len()];
        out.push(Color {
            matrix: matrices[i % matrices.len()],
            range: if i < 6 { *range } else { both[(i + 1) % 2] },
            site: ChromaSite { h, v },
        });
    }
    out
}

/// Pixels of frames are equal; what lies between rows does not count.
#[track_caller]
fn assert_equal(a: &FrameRef<'_>, b: &FrameRef<'_>, what: &str) {
    assert_eq!(a.format(), b.format());
    for c in 0..a.format().info().components.len() {
        let (one, other) = (a.component(c), b.component(c));
        for y in 0..one.height() {
            for x in 0..one.width() {
                let (p, q) = (one.get(x, y), other.get(x, y));
                assert_eq!(p, q, "{what}: {:?} component {c} at ({x}, {y})", a.format());
            }
        }
    }
}
