//! What the tests of lossy coding share.

use gstneural_codec::{Format, Picture, bitstream::Chroma};

/// 8-bit 4:2:0.
pub fn format(width: u32, height: u32) -> Format {
    Format {
        width,
        height,
        chroma: Chroma::C420,
        depth: 8,
    }
}

/// A pattern that moves, over noise.
pub fn clip(format: Format, frames: usize, seed: u64) -> Vec<Picture> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let frame = |t: usize| {
        let mut picture = Picture::grey(format);
        for plane in &mut picture.planes {
            for i in 0..plane.samples.len() {
                let (x, y) = (i % plane.width + 2 * t, i / plane.width);
                plane.samples[i] = ((x * x / 9 + y * 3) % 200) as u16 + rng.u16(0..8);
            }
        }
        picture
    };
    (0..frames).map(frame).collect()
}
