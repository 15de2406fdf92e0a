//! What happens to a finished frame.

use gstneural_pixels::{Family, YuvRgb, color::anchors, subsampled};

use super::{Kernel, Kernels, int, load::rgb, slots};
use crate::{
    buffer::{DeviceBuffer, Rows, copy_rows},
    copies::Cargo,
    device::Stream,
    error::{Result, arguments},
    filter::DeviceScaler,
    frame::{DeviceFrame, DevicePlane},
    params::{Comp, Inspect, NO_COLOR, Post, Taps},
    tensor::DeviceTensor,
};

/// What [`Kernels::inspect`] found in a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Findings {
    /// Elements that are infinite or not numbers.
    pub not_finite: u32,
    /// The greatest finite element, at least 0.
    pub greatest: f32,
}

const NOTHING: Post = Post {
    dst: [NO_COMP; 4],
    src: [NO_COMP; 4],
    across: NO_TAPS,
    down: NO_TAPS,
    color: NO_COLOR,
    x: 0,
    y: 0,
    w: 0,
    h: 0,
    weight: 0.0,
    scale: 0.0,
    value: 0,
    unused: 0,
};
const NO_TAPS: Taps = Taps {
    starts: 0,
    weights: 0,
    taps: 0,
    outputs: 0,
};
const NO_COMP: Comp = Comp {
    data: 0,
    pitch: 0,
    width: 0,
    height: 0,
    bytes: 0,
    step: 0,
    shift: 0,
    max: 0,
    unused: 0,
};

impl Kernels {
    /// The classical upscale of every component, and 255 in unused bytes of pixels.
    ///
    /// # Errors
    /// If the frames are not what the scaler was made for, or what the driver says.
    pub fn scale(
        &self,
        stream: &Stream,
        scaler: &DeviceScaler,
        from: &DeviceFrame,
        to: &DeviceFrame,
    ) -> Result<()> {
        let all = 0..from.format().info().components.len();
        self.scale_components(stream, scaler, from, to, all)?;
        self.fill_padding(stream, to)
    }

    /// The classical upscale of some components: 1..3 is chroma, 3..4 alpha.
    ///
    /// # Errors
    /// As [`Self::scale`].
    pub fn scale_components(
        &self,
        stream: &Stream,
        scaler: &DeviceScaler,
        from: &DeviceFrame,
        to: &DeviceFrame,
        components: std::ops::Range<usize>,
    ) -> Result<()> {
        from.check_format(scaler.format)?;
        to.check_format(scaler.format)?;
        if from.size() != scaler.src || to.size() != scaler.dst {
            return arguments("the scaler is for frames of another size");
        }
        // Components of luma's size, and those that are not.
        for (filter, subsampled) in [(Some(&scaler.full), false), (scaler.chroma.as_ref(), true)] {
            let Some(filter) = filter else { continue };
            let mut params = NOTHING;
            (params.across, params.down) = filter.raw();
            let mut count = 0;
            let slots = params.src.iter_mut().zip(&mut params.dst);
            let wanted = components
                .clone()
                .filter(|c| is_chroma(from, *c) == subsampled);
            for (c, (src, dst)) in wanted.zip(slots) {
                (*src, *dst) = (from.component(c)?, to.component(c)?);
                count += 1;
            }
            let (width, height) = filter.dst_size();
            // SAFETY: frames were checked when they were made, and have the filter's sizes.
            unsafe { self.launch(stream, Kernel::Resample, &params, (width, height, count))? };
        }
        Ok(())
    }

    /// Writes 255 into the unused byte of each pixel, if the format has one.
    ///
    /// # Errors
    /// What the driver says.
    pub fn fill_padding(&self, stream: &Stream, frame: &DeviceFrame) -> Result<()> {
        let info = frame.format().info();
        let Some((_, offset)) = info.padding else {
            return Ok(());
        };
        let first = frame.component(0)?;
        let own = info.components[0].offset;
        let padding = Comp {
            data: first.data - own as u64 + offset as u64,
            ..first
        };
        self.fill_comp(stream, padding, (0, 0), frame.size(), 255)
    }

    /// Writes one value, clamped to the depth, into a rectangle of a component (its own samples:
    /// x, y, width, height).
    ///
    /// # Errors
    /// If the rectangle reaches beyond the component, or what the driver says.
    pub fn fill(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        component: usize,
        (x, y, w, h): (usize, usize, usize, usize),
        value: u32,
    ) -> Result<()> {
        let comp = frame.component(component)?;
        self.fill_comp(stream, comp, (x, y), (w, h), value.min(comp.max))
    }

    fn fill_comp(
        &self,
        stream: &Stream,
        comp: Comp,
        (x, y): (usize, usize),
        (w, h): (usize, usize),
        value: u32,
    ) -> Result<()> {
        let within = |at: usize, n: usize, all: u32| {
            at.checked_add(n).is_some_and(|end| end <= all as usize)
        };
        if !within(x, w, comp.width) || !within(y, h, comp.height) {
            return arguments(format!(
                "{w}x{h} at ({x}, {y}) reaches beyond the component"
            ));
        }
        let params = Post {
            dst: slots(&[comp])?,
            x: int(x)?,
            y: int(y)?,
            w: int(w)?,
            h: int(h)?,
            value,
            ..NOTHING
        };
        // SAFETY: the rectangle lies within the component.
        unsafe { self.launch(stream, Kernel::Fill, &params, (w, h, 1)) }
    }

    /// `frame = classical + weight * (frame - classical)` on every component but alpha; `weight`
    /// is clamped to 0..=1.
    ///
    /// # Errors
    /// If the frames differ in format or size, or what the driver says.
    pub fn mix(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        classical: &DeviceFrame,
        weight: f32,
    ) -> Result<()> {
        frame.check_alike(classical)?;
        if weight >= 1.0 {
            return Ok(());
        }
        let weight = if weight > 0.0 { weight } else { 0.0 };
        let info = frame.format().info();
        for c in (0..info.components.len()).filter(|c| Some(*c) != info.alpha) {
            let (to, from) = (frame.component(c)?, classical.component(c)?);
            let params = Post {
                dst: slots(&[to])?,
                src: slots(&[from])?,
                weight,
                ..NOTHING
            };
            let size = (to.width as usize, to.height as usize, 1);
            // SAFETY: both frames were checked when they were made and are alike.
            unsafe { self.launch(stream, Kernel::Mix, &params, size)? };
        }
        Ok(())
    }

    /// Gives an RGB frame, which holds the classical upscale, the luma of the network: component 0
    /// of `luma`, a frame of the same size.
    ///
    /// # Errors
    /// If the frame is not RGB or the sizes differ, or what the driver says.
    pub fn replace_luma(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        luma: &DeviceFrame,
    ) -> Result<()> {
        let wanted = luma.component(0)?;
        if luma.size() != frame.size() {
            return arguments("luma of another size than the frame");
        }
        let info = frame.format().info();
        let params = Post {
            dst: slots(&rgb(frame)?)?,
            src: slots(&[wanted])?,
            color: YuvRgb::new(&frame.color(), info.depth).coefficients(),
            weight: 1.0 / ((1u32 << info.depth) - 1) as f32,
            scale: 1.0 / wanted.max as f32,
            ..NOTHING
        };
        let size = (frame.width(), frame.height(), 1);
        // SAFETY: both frames were checked when they were made and are of one size.
        unsafe { self.launch(stream, Kernel::ReplaceLuma, &params, size) }
    }

    /// Compare view: the columns left of `split` (rounded down to the chroma grid and cut to the
    /// width) are taken from `other`, and a white line of two pixels marks the border.
    ///
    /// # Errors
    /// If the frames differ in format or size, or what the driver says.
    pub fn split_view(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        other: &DeviceFrame,
        split: usize,
    ) -> Result<()> {
        frame.check_alike(other)?;
        let info = frame.format().info();
        let (width, height) = frame.size();
        let whole = split >= width;
        let split = match whole {
            true => width,
            false => split - split % frame.format().grid().0,
        };
        self.copy(stream, frame, other, (0, 0), (split, height))?;
        if split == 0 || whole {
            return Ok(());
        }
        let (_, white, neutral) = anchors(frame.color().range, info.depth);
        for (c, comp) in info.components.iter().enumerate() {
            let value = match (info.family, c) {
                (Family::Rgb, _) => u32::MAX,
                (_, 0) => white,
                _ => neutral,
            };
            let (cw, ch) = frame.component_size(c)?;
            let x = split >> comp.sub_w;
            let w = subsampled(2, comp.sub_w).min(cw - x.min(cw));
            self.fill(stream, frame, c, (x, 0, w, ch), value)?;
        }
        Ok(())
    }

    /// Copies `from` into `frame` at (`x`, `y`), rounded down to the chroma grid; what lies outside
    /// is left out. Device to device: not counted.
    ///
    /// # Errors
    /// If the formats differ, or what the driver says.
    pub fn blit(
        &self,
        stream: &Stream,
        frame: &DeviceFrame,
        from: &DeviceFrame,
        (x, y): (usize, usize),
    ) -> Result<()> {
        frame.check_format(from.format())?;
        let (grid_w, grid_h) = frame.format().grid();
        let (x, y) = (x - x % grid_w, y - y % grid_h);
        if x >= frame.width() || y >= frame.height() {
            return Ok(());
        }
        let size = (
            from.width().min(frame.width() - x),
            from.height().min(frame.height() - y),
        );
        self.copy(stream, frame, from, (x, y), size)
    }

    /// Copies a rectangle of a plane from one frame to the same place of another: `at` and `size` are
    /// pixels of that plane. Nothing is done where both are the same memory. Device to device: not
    /// counted.
    ///
    /// # Errors
    /// If the frames differ in format or size, the rectangle reaches beyond the plane, or what the
    /// driver says.
    pub fn copy_rect(
        &self,
        stream: &Stream,
        to: &DeviceFrame,
        from: &DeviceFrame,
        plane: usize,
        (x, y): (usize, usize),
        (w, h): (usize, usize),
    ) -> Result<()> {
        to.check_alike(from)?;
        let info = to.format().info();
        let comp = info.components.iter().find(|c| c.plane == plane);
        let planes = to.planes().get(plane).zip(from.planes().get(plane));
        let (Some(comp), Some((target, source))) = (comp, planes) else {
            return arguments(format!("{} has no plane {plane}", info.name));
        };
        let unit = comp.step * info.sample_bytes;
        let (row_bytes, rows) = to.format().plane_size(plane, to.width(), to.height());
        let within = |at: usize, n: usize, all| at.checked_add(n).is_some_and(|end| end <= all);
        if !within(x, w, row_bytes / unit) || !within(y, h, rows) {
            return arguments(format!("{w}x{h} at ({x}, {y}) reaches beyond the plane"));
        }
        if target.address == source.address {
            return Ok(());
        }
        let address = |p: &DevicePlane| Rows::Device(p.address + (y * p.pitch + x * unit) as u64);
        // SAFETY: the rectangle lies within both planes.
        unsafe {
            copy_rows(
                stream,
                (address(target), target.pitch),
                (address(source), source.pitch),
                w * unit,
                h,
            )
        }
    }

    /// Copies `size` pixels from the corner of `from` to `at`, a point of the chroma grid; both lie
    /// within the frames.
    fn copy(
        &self,
        stream: &Stream,
        to: &DeviceFrame,
        from: &DeviceFrame,
        at: (usize, usize),
        size: (usize, usize),
    ) -> Result<()> {
        let info = to.format().info();
        for (p, (target, source)) in to.planes().iter().zip(from.planes()).enumerate() {
            let Some(comp) = info.components.iter().find(|c| c.plane == p) else {
                continue;
            };
            let unit = comp.step * info.sample_bytes;
            let (x, y) = ((at.0 >> comp.sub_w) * unit, at.1 >> comp.sub_h);
            let address = target.address + (y * target.pitch + x) as u64;
            // SAFETY: the caller has cut the rectangle to both frames.
            unsafe {
                copy_rows(
                    stream,
                    (Rows::Device(address), target.pitch),
                    (Rows::Device(source.address), source.pitch),
                    subsampled(size.0, comp.sub_w) * unit,
                    subsampled(size.1, comp.sub_h),
                )?;
            }
        }
        Ok(())
    }

    /// Queues looking through a tensor for what a network in f16 does when it overflows;
    /// [`Self::findings`] takes the result out of `result`, of 8 bytes, which is cleared first.
    ///
    /// # Errors
    /// If `result` is too small, or what the driver says.
    pub fn inspect(
        &self,
        stream: &Stream,
        tensor: &DeviceTensor,
        result: &DeviceBuffer,
    ) -> Result<()> {
        result.clear(stream, 0..8)?;
        let count = tensor.elements();
        let params = Inspect {
            data: tensor.address(),
            result: result.address(),
            count: count as u64,
            element: tensor.element() as u32,
            unused: 0,
        };
        // One row of blocks; a thread looks at every so-manieth element.
        let columns = count.div_ceil(512).min(1 << 13);
        // SAFETY: the tensor was checked when it was made, the result's size by `clear`.
        unsafe { self.launch(stream, Kernel::Inspect, &params, (columns, 1, 1)) }
    }

    /// Waits for and takes what [`Self::inspect`] found.
    ///
    /// # Errors
    /// What the driver says.
    pub fn findings(&self, stream: &Stream, result: &DeviceBuffer) -> Result<Findings> {
        let mut found = [0; 8];
        result.download(stream, 0, &mut found, Cargo::Table)?;
        let [a, b, c, d, e, f, g, h] = found;
        Ok(Findings {
            not_finite: u32::from_ne_bytes([a, b, c, d]),
            greatest: f32::from_ne_bytes([e, f, g, h]),
        })
    }
}

fn is_chroma(frame: &DeviceFrame, c: usize) -> bool {
    let comp = frame.format().info().components.get(c);
    comp.is_some_and(|c| c.sub_w > 0 || c.sub_h > 0)
}
