//! Which parts of a frame did not change, found out on the device.

use gstneural_pixels::{PixelFormat, Rect, subsampled};

use super::{Kernel, Kernels, int};
use crate::{
    buffer::DeviceBuffer,
    copies::Cargo,
    device::Stream,
    error::{Result, arguments},
    frame::DeviceFrame,
    params::Differs,
};

/// Bytes that a thread compares: what `differs` in post.cu counts in.
const AT_ONCE: usize = 16;

/// Rectangles of frames of one format and size, and room for an answer about each.
#[derive(Debug)]
pub struct DeviceAreas {
    format: PixelFormat,
    size: (usize, usize),
    count: usize,
    planes: Vec<Plane>,
    flags: DeviceBuffer,
    answer: Vec<u8>,
}

/// The rectangles' bytes in one plane.
#[derive(Debug)]
struct Plane {
    table: DeviceBuffer,
    /// The widest in bytes, the highest in rows.
    most: (usize, usize),
}

impl DeviceAreas {
    /// For frames of `size` (width, height). Rectangles are in luma pixels, cut to the frame; the
    /// chroma samples that cover them belong to them.
    ///
    /// # Errors
    /// Without a rectangle, with more than a launch takes (65535), or what the driver says.
    pub fn new(
        stream: &Stream,
        format: PixelFormat,
        size: (usize, usize),
        areas: &[Rect],
    ) -> Result<Self> {
        if areas.is_empty() || areas.len() > usize::from(u16::MAX) {
            return arguments(format!("{} rectangles to compare", areas.len()));
        }
        let info = format.info();
        let mut planes = Vec::new();
        for p in 0..info.planes {
            let Some(comp) = info.components.iter().find(|c| c.plane == p) else {
                continue;
            };
            let (mut table, mut most) = (Vec::new(), (0, 0));
            for area in areas {
                let (x, y) = (cut(area.x, area.w, size.0), cut(area.y, area.h, size.1));
                let unit = comp.step * info.sample_bytes;
                let across = |n: usize| n * unit;
                let x = span(x, comp.sub_w).map(across);
                let y = span(y, comp.sub_h);
                most = (most.0.max(x[1] - x[0]), most.1.max(y[1] - y[0]));
                for value in x.into_iter().chain(y) {
                    table.extend(int(value)?.to_ne_bytes());
                }
            }
            planes.push(Plane {
                table: DeviceBuffer::with(stream, &table, Cargo::Table)?,
                most,
            });
        }
        Ok(Self {
            format,
            size,
            count: areas.len(),
            planes,
            flags: DeviceBuffer::new(stream.device(), 4 * areas.len())?,
            answer: vec![0; 4 * areas.len()],
        })
    }
}

/// From and to, within a side.
fn cut(from: isize, length: usize, side: usize) -> (usize, usize) {
    let within = |at: isize| at.clamp(0, side as isize) as usize;
    let to = within(from.saturating_add_unsigned(length));
    (within(from).min(to), to)
}

/// The samples that cover pixels `from..to`; none cover none.
fn span((from, to): (usize, usize), sub: u8) -> [usize; 2] {
    match from < to {
        true => [from >> sub, subsampled(to, sub)],
        false => [0, 0],
    }
}

impl Kernels {
    /// Which of the rectangles differ between two frames, byte by byte, in the rectangles' order.
    /// An unused byte of a pixel counts. Waits for the answer, which is 4 bytes for each.
    ///
    /// # Errors
    /// If a frame has another format or size than the rectangles, or what the driver says.
    pub fn changed<'a>(
        &self,
        stream: &Stream,
        areas: &'a mut DeviceAreas,
        a: &DeviceFrame,
        b: &DeviceFrame,
    ) -> Result<impl Iterator<Item = bool> + use<'a>> {
        a.check_alike(b)?;
        a.check_format(areas.format)?;
        if a.size() != areas.size {
            return arguments("frames of another size than the rectangles");
        }
        areas.flags.clear(stream, 0..areas.flags.bytes())?;
        let planes = a.planes().iter().zip(b.planes()).zip(&areas.planes);
        for ((one, other), plane) in planes {
            let params = Differs {
                a: one.address,
                b: other.address,
                flags: areas.flags.address(),
                areas: plane.table.address(),
                pitch_a: int(one.pitch)?,
                pitch_b: int(other.pitch)?,
            };
            let size = (plane.most.0.div_ceil(AT_ONCE), plane.most.1, areas.count);
            // SAFETY: rectangles were cut to frames of this format and size; the table and the flags
            // have an entry for each.
            unsafe { self.launch(stream, Kernel::Differs, &params, size)? };
        }
        let DeviceAreas { flags, answer, .. } = areas;
        flags.download(stream, 0, answer, Cargo::Table)?;
        Ok(answer.chunks_exact(4).map(|flag| flag != [0; 4]))
    }
}
