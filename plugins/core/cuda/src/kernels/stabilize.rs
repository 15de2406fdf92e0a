//! Less flicker, on the device.

use gstneural_pixels::{
    PixelFormat,
    stabilize::{SCENE_CUT, motion_weights, residual_unit, smoothed},
};

use super::{Kernel, Kernels};
use crate::{
    buffer::DeviceBuffer,
    copies::Cargo,
    device::Stream,
    error::{Result, arguments},
    frame::DeviceFrame,
    params::{Comp, Stabilize},
};

/// Rows that a thread of `motion` looks at: `ROWS` of stabilize.cu.
const ROWS: usize = 16;

/// What [`gstneural_pixels::Stabilizer`] does, with its memory on the device.
#[derive(Debug)]
pub struct DeviceStabilizer {
    format: PixelFormat,
    input: (usize, usize),
    output: (usize, usize),
    primed: bool,
    previous: DeviceBuffer,
    difference: DeviceBuffer,
    state: DeviceBuffer,
    weights: DeviceBuffer,
    total: DeviceBuffer,
}

impl DeviceStabilizer {
    /// For frames of `format`, of `input` (width, height) before and `output` after upscaling.
    ///
    /// # Errors
    /// For sizes that cannot be, [`OutOfMemory`](crate::Error::OutOfMemory), or what the driver says.
    pub fn new(
        stream: &Stream,
        format: PixelFormat,
        input: (usize, usize),
        output: (usize, usize),
    ) -> Result<Self> {
        let fits = 1..=gstneural_pixels::MAX_DIMENSION;
        if [input.0, input.1, output.0, output.1]
            .iter()
            .any(|n| !fits.contains(n))
        {
            return arguments(format!("no stabilizer for {input:?} to {output:?}"));
        }
        let weights: Vec<u8> = motion_weights()
            .iter()
            .flat_map(|w| w.to_ne_bytes())
            .collect();
        let state = output.0 * output.1 * smoothed(format) * size_of::<i16>();
        Ok(Self {
            format,
            input,
            output,
            primed: false,
            previous: DeviceBuffer::zeroed(stream, input.0 * input.1)?,
            difference: DeviceBuffer::zeroed(stream, input.0 * input.1)?,
            state: DeviceBuffer::zeroed(stream, state)?,
            weights: DeviceBuffer::with(stream, &weights, Cargo::Table)?,
            total: DeviceBuffer::zeroed(stream, 8)?,
        })
    }

    /// Forgets the past: after a seek or a gap.
    pub fn reset(&mut self) {
        self.primed = false;
    }

    /// Queues stabilizing `out`, the network's upscale of `input`, with `classical`, its upscale by
    /// a filter. `amount` from 0 (nothing) to 1.
    ///
    /// # Errors
    /// If a frame has another format or size than this was made for, or what the driver says.
    pub fn run(
        &mut self,
        kernels: &Kernels,
        stream: &Stream,
        input: &DeviceFrame,
        classical: &DeviceFrame,
        out: &DeviceFrame,
        amount: f32,
    ) -> Result<()> {
        let frames = [
            (input, self.input),
            (classical, self.output),
            (out, self.output),
        ];
        for (frame, size) in frames {
            frame.check_format(self.format)?;
            if frame.size() != size {
                return arguments("the stabilizer is for frames of another size");
            }
        }
        let components = smoothed(self.format);
        let comps = |frame: &DeviceFrame| -> Result<[Comp; 3]> {
            let mut all = [Comp::default(); 3];
            for (c, slot) in all.iter_mut().enumerate().take(components) {
                *slot = frame.component(c)?;
            }
            Ok(all)
        };
        let depth = self.format.info().depth;
        let unit = residual_unit(depth);
        let amount = if amount > 0.0 { amount.min(1.0) } else { 0.0 };
        let params = Stabilize {
            input: comps(input)?,
            classical: comps(classical)?,
            out: comps(out)?,
            previous: self.previous.address(),
            difference: self.difference.address(),
            total: self.total.address(),
            state: self.state.address(),
            weights: self.weights.address(),
            amount: if self.primed { amount } else { 0.0 },
            share: 255.0 / ((1u32 << depth) - 1) as f32,
            to_unit: unit,
            from_unit: 1.0 / unit,
            scene_cut: SCENE_CUT as u32,
            components: components as u32,
        };
        self.total.clear(stream, 0..8)?;
        let size = (self.input.0, self.input.1.div_ceil(ROWS), 1);
        // SAFETY: the frames were checked, and the buffers are of their sizes.
        unsafe { kernels.launch(stream, Kernel::Motion, &params, size)? };
        let size = (self.output.0, self.output.1, components);
        // SAFETY: as above.
        unsafe { kernels.launch(stream, Kernel::Smooth, &params, size)? };
        self.primed = true;
        Ok(())
    }
}
