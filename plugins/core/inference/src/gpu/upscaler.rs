//! A network on the device and what is done with its result: strength, stabilisation, comparison,
//! fallback.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gstneural_cuda::{
    Budget, DeviceFrame, DeviceFrameBuf, DeviceScaler, DeviceStabilizer, Limits, Member, PATIENCE,
    Reservation, Slot,
};
use gstneural_pixels::{Color, PixelFormat, Rect};

use super::{Gpu, engine::GpuEngine};
use crate::{
    device::{Placement, Processor},
    engine::{Options, Plan, Report, Tile},
    error::{Error, Result},
    model::Model,
    upscaler::{Compare, UpscalerOptions, check_compare},
};

/// The smallest memory for activations that is tried when the device's is short, in bytes.
const LEAST_MEMORY: usize = 16 << 20;
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// One frame to be upscaled.
#[derive(Debug, Clone, Copy)]
pub struct GpuFrame<'a> {
    /// The frames that the network sees, in order of time; the middle one is upscaled.
    pub window: &'a [DeviceFrame],
    /// Where the result goes.
    pub output: DeviceFrame,
    /// The frame before, if its result may be reused; ignored where the result depends on more.
    pub previous: Option<GpuPrevious<'a>>,
}

/// What is known of the frame before.
#[derive(Debug, Clone, Copy)]
pub struct GpuPrevious<'a> {
    /// Which tiles equal its.
    pub unchanged: &'a Unchanged,
    /// Its result; may be where this one's goes.
    pub output: DeviceFrame,
}

/// Which tiles of a frame equal those of the frame before, by [`GpuUpscaler::areas`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unchanged(Vec<bool>);

impl Unchanged {
    /// From an answer for each of the areas.
    pub fn new(areas: impl Iterator<Item = bool>) -> Self {
        Self(areas.collect())
    }

    /// True if the whole frame is the same: tiles cover it.
    pub fn is_whole(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|u| *u)
    }

    /// True if any tile is.
    pub fn is_any(&self) -> bool {
        self.0.contains(&true)
    }

    pub(super) fn tile(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|u| *u)
    }
}

/// Turns frames in device memory into larger ones there.
#[derive(Debug)]
pub struct GpuUpscaler {
    engine: GpuEngine,
    other: Option<GpuEngine>,
    gpu: Gpu,
    options: UpscalerOptions,
    scaler: DeviceScaler,
    /// Classical upscale of the current frame, where something needs it.
    classical: Option<DeviceFrameBuf>,
    /// What is shown beside or left of the result.
    beside: Option<DeviceFrameBuf>,
    /// The result before it is put beside another.
    result: Option<DeviceFrameBuf>,
    stabilizer: Option<DeviceStabilizer>,
    _reservation: Reservation,
    _shares: Option<(Slot, Member)>,
}

/// Bytes of device memory that an upscaler takes, about.
fn estimate(
    model: &Model,
    options: &UpscalerOptions,
    format: PixelFormat,
    size: (usize, usize),
) -> Result<u64> {
    let plan = Plan::new(model, &options.engine, format, size.0, size.1)?;
    let elements = |shape: [usize; 4]| shape.iter().map(|n| *n as u64).product::<u64>();
    let [batch, _, h, w] = plan.in_shape;
    let activations = (batch * h * w) as u64 * model.info().bytes_per_pixel as u64;
    // A frame of the result for each view that may be on.
    let scale = model.info().scale;
    let frame = (size.0 * size.1 * scale * scale) as u64 * 4 * format.info().sample_bytes as u64;
    Ok(4 * (elements(plan.in_shape) + elements(plan.out_shape)) + activations + 3 * frame)
}

impl GpuUpscaler {
    /// Opens `model`, and `compare_model` if one is given, for one frame size and format.
    ///
    /// Where the device's memory does not do, smaller tiles are tried (with [`Tile::Auto`]), then
    /// it is waited for others to give some back, ten seconds at most.
    ///
    /// # Errors
    /// [`Error::Device`] if the runtime cannot use the device, [`Error::Cuda`] if its memory is not
    /// enough; otherwise as [`crate::Upscaler::new`].
    pub fn new(
        gpu: &Gpu,
        model: &Arc<Model>,
        compare_model: Option<&Arc<Model>>,
        options: &UpscalerOptions,
        format: PixelFormat,
        color: Color,
        size: (usize, usize),
    ) -> Result<Self> {
        check_compare(model, compare_model, options.compare, format, size.0)?;
        let placement = Self::placement(gpu, model, &options.engine)?;
        let device = &options.engine.device;
        let budget = Budget::of(gpu.device.ordinal());
        let member = budget.join(Limits {
            bytes: device.gpu_memory.map(|n| n as u64),
            slots: device.slots,
            folder: device.slot_folder.clone(),
        });
        let slot = budget.slot(PATIENCE)?;
        let mut engine = options.engine.clone();
        let begun = Instant::now();
        let mut made = loop {
            let made = Self::try_new(
                gpu,
                model,
                compare_model,
                &UpscalerOptions {
                    engine: engine.clone(),
                    ..options.clone()
                },
                &placement,
                format,
                color,
                size,
            );
            match made {
                Err(e) if e.is_out_of_memory() => {
                    if engine.tile == Tile::Auto && engine.memory_limit > LEAST_MEMORY {
                        engine.memory_limit = (engine.memory_limit / 2).max(LEAST_MEMORY);
                    } else if begun.elapsed() < PATIENCE {
                        thread::sleep(PAUSE);
                        // Perhaps the larger tiles fit by now.
                        engine.memory_limit = options.engine.memory_limit;
                    } else {
                        return Err(e);
                    }
                }
                made => break made?,
            }
        };
        made._shares = Some((slot, member));
        Ok(made)
    }

    fn placement(gpu: &Gpu, model: &Model, options: &Options) -> Result<Placement> {
        let id = u32::try_from(gpu.device.ordinal()).unwrap_or(u32::MAX);
        let asked = crate::Device {
            processor: options.device.processor.or(Some(Processor::Cuda)),
            id,
            ..options.device.clone()
        };
        let found = asked.candidates(model.is_half(), true)?;
        let placement = found.into_iter().next();
        let placement = placement.filter(|p| p.processor != Processor::Cpu);
        let mut placement = placement.ok_or_else(|| {
            Error::Unsupported("frames in GPU memory need device=cuda, tensorrt or auto".into())
        })?;
        if gpu.is_software() {
            placement.processor = Processor::Cpu;
        }
        Ok(placement)
    }

    #[allow(clippy::too_many_arguments)]
    fn try_new(
        gpu: &Gpu,
        model: &Arc<Model>,
        compare_model: Option<&Arc<Model>>,
        options: &UpscalerOptions,
        placement: &Placement,
        format: PixelFormat,
        color: Color,
        size: (usize, usize),
    ) -> Result<Self> {
        let scale = model.info().scale;
        let out = (size.0 * scale, size.1 * scale);
        let budget = Budget::of(gpu.device.ordinal());
        // Those who wait for memory do so in `new`, with smaller tiles in between.
        let bytes = estimate(model, options, format, size)?;
        let reservation = budget.reserve(bytes, Duration::ZERO)?;
        let open = |model: &Arc<Model>| {
            let (model, placement) = (model.clone(), placement.clone());
            GpuEngine::new(gpu, model, &options.engine, placement, format, color, size)
        };
        let buffer = || DeviceFrameBuf::new(&gpu.device, format, out.0, out.1, color);
        let comparing = options.compare != Compare::Off;
        let side = options.compare == Compare::Side;
        Ok(Self {
            engine: open(model)?,
            other: compare_model.filter(|_| comparing).map(open).transpose()?,
            scaler: DeviceScaler::new(&gpu.stream, format, color.site, size, out, options.filter)?,
            classical: None,
            beside: comparing.then(buffer).transpose()?,
            result: side.then(buffer).transpose()?,
            stabilizer: (options.stabilize > 0.0)
                .then(|| DeviceStabilizer::new(&gpu.stream, format, size, out))
                .transpose()?,
            gpu: gpu.clone(),
            options: options.clone(),
            _reservation: reservation,
            _shares: None,
        })
    }

    /// What the network runs on: `cuda` or `tensorrt`.
    pub fn device_name(&self) -> &'static str {
        match self.engine.placement().processor {
            // The software device's.
            Processor::Cpu => Processor::Cuda.name(),
            processor => processor.name(),
        }
    }

    /// Whether the network runs in half precision.
    pub fn is_half(&self) -> bool {
        self.engine.placement().half
    }

    /// What became of a result in half precision, if it was given up for single.
    pub fn spoilt(&self) -> Option<&'static str> {
        self.engine.spoilt().map(|f| f.name())
    }

    /// Tiles of one frame.
    pub fn tiles(&self) -> usize {
        self.engine.tiles()
    }

    /// Size of a tile, overlaps included.
    pub fn tile_size(&self) -> (usize, usize) {
        self.engine.tile_size()
    }

    /// The tiles' inputs, overlaps included: what has to be compared with the frame before.
    pub fn areas(&self) -> &[Rect] {
        self.engine.areas()
    }

    /// True if a frame's result is a function of the frame alone and so may be reused.
    pub fn is_reusable(&self) -> bool {
        self.options.strength >= 1.0
            && self.stabilizer.is_none()
            && self.options.compare == Compare::Off
    }

    /// Compares two frames on the device, tile by tile, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Cuda`]; a frame of another size or format than this is for.
    pub fn unchanged(&mut self, input: &DeviceFrame, previous: &DeviceFrame) -> Result<Unchanged> {
        self.engine.unchanged(input, previous)
    }

    /// Moves the split.
    pub fn set_split(&mut self, split: f32) {
        self.options.split = split.clamp(0.0, 1.0);
    }

    /// Forgets earlier frames, after a seek.
    pub fn reset(&mut self) {
        if let Some(s) = &mut self.stabilizer {
            s.reset();
        }
    }

    /// Upscales a frame with `weight` (0 < weight <= 1) of the network, and waits until the result
    /// is there.
    ///
    /// # Errors
    /// [`Error::Inference`], [`Error::Cuda`]; the output is not valid then.
    pub fn run(&mut self, frame: GpuFrame<'_>, weight: f32) -> Result<Report> {
        let Some(input) = frame.window.get(frame.window.len() / 2).copied() else {
            return Ok(Report::default());
        };
        let output = frame.output;
        let result = self.result.as_ref().map_or(output, DeviceFrameBuf::frame);
        let reusable = self.is_reusable() && weight >= 1.0;
        let report = self.engine.run(GpuFrame {
            window: frame.window,
            output: result,
            previous: frame.previous.filter(|_| reusable),
        })?;
        self.polish(&input, &result, weight)?;
        match self.options.compare {
            Compare::Off => {}
            Compare::Split => {
                let at = (output.width() as f32 * self.options.split) as usize;
                // At 0 nothing of it would be seen.
                if at > 0
                    && let Some(beside) = self.render_beside(&input)?
                {
                    let (stream, kernels) = (&*self.gpu.stream, &self.gpu.kernels);
                    kernels.split_view(stream, &output, &beside, at)?;
                }
            }
            Compare::Side => {
                let (stream, width) = (self.gpu.stream.clone(), result.width());
                if let Some(beside) = self.render_beside(&input)? {
                    self.gpu.kernels.blit(&stream, &output, &beside, (0, 0))?;
                }
                self.gpu
                    .kernels
                    .blit(&stream, &output, &result, (width, 0))?;
            }
        }
        self.gpu.stream.synchronise()?;
        Ok(report)
    }

    /// Upscales a frame without the network, and waits until it is there.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn run_classical(&mut self, input: &DeviceFrame, output: &DeviceFrame) -> Result<()> {
        self.reset();
        let (stream, kernels) = (&*self.gpu.stream, &self.gpu.kernels);
        match &self.result {
            Some(result) => {
                let result = result.frame();
                kernels.scale(stream, &self.scaler, input, &result)?;
                kernels.blit(stream, output, &result, (0, 0))?;
                kernels.blit(stream, output, &result, (result.width(), 0))?;
            }
            None => kernels.scale(stream, &self.scaler, input, output)?,
        }
        Ok(stream.synchronise()?)
    }

    /// Strength and stabilisation, in place.
    fn polish(&mut self, input: &DeviceFrame, output: &DeviceFrame, weight: f32) -> Result<()> {
        let strength = (self.options.strength * weight).clamp(0.0, 1.0);
        if strength >= 1.0 && self.stabilizer.is_none() {
            return Ok(());
        }
        let (stream, kernels) = (&*self.gpu.stream, &self.gpu.kernels);
        let classical = match &self.classical {
            Some(frame) => frame.frame(),
            None => {
                let (w, h) = (output.width(), output.height());
                let (format, color) = (output.format(), output.color());
                let frame = DeviceFrameBuf::new(&self.gpu.device, format, w, h, color)?;
                self.classical.insert(frame).frame()
            }
        };
        kernels.scale(stream, &self.scaler, input, &classical)?;
        if strength < 1.0 {
            kernels.mix(stream, output, &classical, strength)?;
        }
        if let Some(s) = &mut self.stabilizer {
            s.run(
                kernels,
                stream,
                input,
                &classical,
                output,
                self.options.stabilize,
            )?;
        }
        Ok(())
    }

    /// The other upscale of the current frame.
    fn render_beside(&mut self, input: &DeviceFrame) -> Result<Option<DeviceFrame>> {
        let Some(beside) = self.beside.as_ref().map(DeviceFrameBuf::frame) else {
            return Ok(None);
        };
        match &mut self.other {
            Some(other) => {
                other.run(GpuFrame {
                    window: &[*input],
                    output: beside,
                    previous: None,
                })?;
            }
            None => {
                let (stream, kernels) = (&*self.gpu.stream, &self.gpu.kernels);
                kernels.scale(stream, &self.scaler, input, &beside)?;
            }
        }
        Ok(Some(beside))
    }
}
