//! What the tests share.

use std::path::PathBuf;

use gstneural_pixels::{Color, FrameBuf, PixelFormat};

/// A small generator of numbers: SplitMix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `n` samples of 8 or 10 bits.
    pub fn row(&mut self, n: usize, bytes: usize) -> Vec<u8> {
        match bytes {
            1 => (0..n).map(|_| self.next() as u8).collect(),
            _ => (0..n)
                .flat_map(|_| ((self.next() % 1024) as u16).to_le_bytes())
                .collect(),
        }
    }

    pub fn frame(&mut self, format: PixelFormat, w: usize, h: usize) -> FrameBuf {
        let mut frame = FrameBuf::new(format, w, h, Color::default()).unwrap();
        let mut view = frame.as_mut();
        for c in 0..format.info().components.len() {
            let mut comp = view.component_mut(c);
            for y in 0..comp.height() {
                for x in 0..comp.width() {
                    comp.set(x, y, (self.next() as u32) & comp.max_value());
                }
            }
        }
        frame
    }
}

/// A picture with edges and slopes that moves by (`dx`, `dy`), in any format.
pub(crate) fn scene(format: PixelFormat, w: usize, h: usize, dx: isize, dy: isize) -> FrameBuf {
    let mut frame = FrameBuf::new(format, w, h, Color::default()).unwrap();
    let mut view = frame.as_mut();
    for (c, info) in format.info().components.iter().enumerate() {
        let mut comp = view.component_mut(c);
        let max = comp.max_value();
        for y in 0..comp.height() {
            for x in 0..comp.width() {
                let u = ((x << info.sub_w) as isize + dx) as f64;
                let v = ((y << info.sub_h) as isize + dy) as f64;
                let wave = (u * 0.11).sin() * (v * 0.07).cos() + (u * 0.031 + v * 0.045).sin();
                let edge = if (u as i64 / 23 + v as i64 / 17) % 2 == 0 {
                    0.15
                } else {
                    -0.1
                };
                let value = 0.5 + 0.18 * wave + edge;
                comp.set(x, y, (value.clamp(0.0, 1.0) * f64::from(max)) as u32);
            }
        }
    }
    frame
}

/// The folder of test data: `GST_NEURAL_DATA`, else `../shared/data` beside the repository.
pub(crate) fn data() -> Option<PathBuf> {
    let root = std::env::var_os("GST_NEURAL_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/data"),
        PathBuf::from,
    );
    if root.is_dir() {
        return Some(root);
    }
    println!(
        "SKIPPED: no test data in {} (set GST_NEURAL_DATA)",
        root.display()
    );
    None
}

/// Frames of raw planar video.
pub(crate) fn read_yuv(bytes: &[u8], format: PixelFormat, w: usize, h: usize) -> Vec<FrameBuf> {
    let info = format.info();
    let size: usize = (0..info.planes)
        .map(|p| format.plane_size(p, w, h))
        .map(|(row, rows)| row * rows)
        .sum();
    bytes
        .chunks_exact(size)
        .map(|mut bytes| {
            let mut frame = FrameBuf::new(format, w, h, Color::default()).unwrap();
            let mut view = frame.as_mut();
            for p in 0..info.planes {
                let (row, rows) = format.plane_size(p, w, h);
                let plane = view.plane_mut(p);
                for y in 0..rows {
                    plane.data[y * plane.stride..][..row].copy_from_slice(&bytes[..row]);
                    bytes = &bytes[row..];
                }
            }
            frame
        })
        .collect()
}
