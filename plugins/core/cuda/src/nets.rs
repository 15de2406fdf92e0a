//! The codec's synthesis on the device: integers only, equal to the CPU's on every device.
//!
//! Which layers there are, and what they compute: `docs/bitstream.md`, "Synthesis". Before a stream
//! is decoded by it, the model's conformance check has to be run through it.

use gstneural_pixels::Family;

use crate::{
    buffer::DeviceBuffer,
    copies::Cargo,
    device::Stream,
    error::{Result, arguments},
    frame::DeviceFrame,
    kernels::{Kernel, Kernels},
    params::{Comp, Dense, Depthwise, Ends},
};

/// Channels of a position: 64 of luma, 16 each of U and V.
const PIXELS: usize = 96;
/// Positions that a thread of `dense` computes: `AT_ONCE` of nets.cu.
const AT_ONCE: usize = 4;

/// A dense layer.
#[derive(Debug, Clone)]
pub struct DenseLayer {
    /// Channels of each part of the input; 0 for one that is not there.
    pub inputs: [usize; 2],
    /// Outputs, of all groups.
    pub outputs: usize,
    /// `[outputs][inputs of both parts]`.
    pub weights: Vec<i16>,
    /// `[outputs]`, or `[levels][outputs]`.
    pub bias: Vec<i32>,
    /// Bits that sums are shifted by, 1 to 15.
    pub shift: u32,
    /// The least output, 0 or -2047.
    pub low: i16,
}

/// A depthwise layer of 3x3 filters.
#[derive(Debug, Clone)]
pub struct DepthwiseLayer {
    /// `[9][channels]`.
    pub weights: Vec<i16>,
    /// `[channels]`.
    pub bias: Vec<i32>,
    /// Bits that sums are shifted by, 1 to 15.
    pub shift: u32,
}

/// The layers of the synthesis.
#[derive(Debug, Clone)]
pub struct SynthesisLayers {
    /// `[levels][latents]`, in 1/16.
    pub steps: Vec<i32>,
    /// `gs.lin`, to be shuffled.
    pub direct: DenseLayer,
    /// `gs.in`.
    pub input: DenseLayer,
    /// `gs.n.dw`, `gs.n.up`, `gs.n.down`.
    pub blocks: Vec<(DepthwiseLayer, DenseLayer, DenseLayer)>,
    /// `gs.out`.
    pub out: DenseLayer,
}

fn upload<T: Copy, const N: usize>(
    stream: &Stream,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> Result<DeviceBuffer> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| bytes(*v)).collect();
    DeviceBuffer::with(stream, &bytes, Cargo::Table)
}

#[derive(Debug)]
struct OnDevice {
    inputs: [usize; 2],
    outputs: usize,
    levels: usize,
    weights: DeviceBuffer,
    bias: DeviceBuffer,
    shift: u32,
    low: i16,
}

impl OnDevice {
    fn new(stream: &Stream, layer: &DenseLayer) -> Result<Self> {
        let (all, wide) = (layer.outputs, layer.inputs[0] + layer.inputs[1]);
        let levels = layer.bias.len() / all.max(1);
        let fits = all > 0 && layer.weights.len() == all * wide && layer.bias.len() == levels * all;
        if !fits || levels == 0 || !(1..=15).contains(&layer.shift) {
            return arguments(format!("no dense layer of {wide} inputs, {all} outputs"));
        }
        let by_input = (0..wide).flat_map(|i| layer.weights.iter().skip(i).step_by(wide));
        let weights: Vec<i16> = by_input.copied().collect();
        Ok(Self {
            inputs: layer.inputs,
            outputs: all,
            levels,
            weights: upload(stream, &weights, i16::to_ne_bytes)?,
            bias: upload(stream, &layer.bias, i32::to_ne_bytes)?,
            shift: layer.shift,
            low: layer.low,
        })
    }
}

#[derive(Debug)]
struct Filter {
    channels: usize,
    weights: DeviceBuffer,
    bias: DeviceBuffer,
    shift: u32,
}

impl Filter {
    fn new(stream: &Stream, layer: &DepthwiseLayer) -> Result<Self> {
        let channels = layer.bias.len();
        let fits = layer.weights.len() == 9 * channels && (1..=15).contains(&layer.shift);
        if channels == 0 || !fits {
            return arguments(format!("no depthwise layer of {channels} channels"));
        }
        Ok(Self {
            channels,
            weights: upload(stream, &layer.weights, i16::to_ne_bytes)?,
            bias: upload(stream, &layer.bias, i32::to_ne_bytes)?,
            shift: layer.shift,
        })
    }
}

/// Synthesis of pictures of one size, with its weights and buffers on the device.
#[derive(Debug)]
pub struct DeviceSynthesis {
    size: (usize, usize),
    /// Rows and columns of latents.
    latents: (usize, usize),
    channels: usize,
    /// Rows of positions of a slice.
    slice: usize,
    /// Rows of positions before the last slice, if that one may be longer.
    last: Option<usize>,
    levels: usize,
    steps: DeviceBuffer,
    direct: OnDevice,
    input: OnDevice,
    blocks: Vec<(Filter, OnDevice, OnDevice)>,
    out: OnDevice,
    // Activations.
    dequantised: DeviceBuffer,
    plain: DeviceBuffer,
    prediction: DeviceBuffer,
    features: DeviceBuffer,
    filtered: DeviceBuffer,
    expanded: DeviceBuffer,
    result: DeviceBuffer,
}

impl DeviceSynthesis {
    /// For pictures of `size` (width, height) in slices of `slice_rows` luma rows, a multiple of 16.
    ///
    /// # Errors
    /// If the layers do not fit each other, [`OutOfMemory`](crate::Error::OutOfMemory), or what the
    /// driver says.
    pub fn new(
        stream: &Stream,
        layers: &SynthesisLayers,
        size: (usize, usize),
        slice_rows: usize,
    ) -> Result<Self> {
        let fits = 1..=gstneural_pixels::MAX_DIMENSION;
        if !fits.contains(&size.0) || !fits.contains(&size.1) {
            return arguments(format!("pictures of {size:?}"));
        }
        if slice_rows == 0 || !slice_rows.is_multiple_of(16) {
            return arguments(format!("slices of {slice_rows} rows"));
        }
        let channels = layers.direct.inputs[0];
        let features = layers.input.outputs;
        let dense = |layer: &DenseLayer, inputs: usize, outputs: usize| {
            if layer.inputs != [inputs, 0] || layer.outputs != outputs {
                return arguments("the layers of the synthesis do not fit each other");
            }
            OnDevice::new(stream, layer)
        };
        let mut widest = 0;
        let mut blocks = Vec::new();
        for (filter, up, down) in &layers.blocks {
            widest = widest.max(up.outputs);
            let filter = Filter::new(stream, filter)?;
            if filter.channels != features {
                return arguments("the layers of the synthesis do not fit each other");
            }
            let up_layer = dense(up, features, up.outputs)?;
            blocks.push((filter, up_layer, dense(down, up.outputs, features)?));
        }
        let input = OnDevice::new(stream, &layers.input)?;
        let levels = layers.steps.len() / channels.max(1);
        let second = input.inputs[1];
        if input.inputs[0] != PIXELS
            || (second != 0 && second != PIXELS)
            || levels == 0
            || layers.steps.len() != levels * channels
            || (input.levels != 1 && input.levels != levels)
        {
            return arguments("the layers of the synthesis do not fit each other");
        }
        let latents = (size.1.div_ceil(16), size.0.div_ceil(16));
        let positions = 4 * latents.0 * latents.1;
        let values = |n: usize| DeviceBuffer::zeroed(stream, positions * n * size_of::<i16>());
        Ok(Self {
            size,
            latents,
            channels,
            slice: slice_rows / 8,
            last: None,
            levels,
            steps: upload(stream, &layers.steps, i32::to_ne_bytes)?,
            direct: dense(&layers.direct, channels, 4 * PIXELS)?,
            out: dense(&layers.out, features, PIXELS)?,
            input,
            blocks,
            dequantised: values(channels.div_ceil(4))?,
            plain: values(PIXELS)?,
            prediction: values(if second == 0 { 0 } else { PIXELS })?,
            features: values(features)?,
            filtered: values(features)?,
            expanded: values(widest)?,
            result: values(PIXELS)?,
        })
    }

    /// Bytes of device memory that [`Self::new`] takes for pictures of `size` (width, height).
    pub fn bytes_of(layers: &SynthesisLayers, size: (usize, usize)) -> u64 {
        let dense = |l: &DenseLayer| 2 * l.weights.len() + 4 * l.bias.len();
        let block = |(filter, up, down): &(DepthwiseLayer, DenseLayer, DenseLayer)| {
            2 * filter.weights.len() + 4 * filter.bias.len() + dense(up) + dense(down)
        };
        let weights = 4 * layers.steps.len()
            + dense(&layers.direct)
            + dense(&layers.input)
            + layers.blocks.iter().map(block).sum::<usize>()
            + dense(&layers.out);
        let widest = layers.blocks.iter().map(|(_, up, _)| up.outputs).max();
        // Of a position: both ends, the prediction, features before and after a filter.
        let values = layers.direct.inputs[0].div_ceil(4)
            + 2 * PIXELS
            + layers.input.inputs[1]
            + 2 * layers.input.outputs
            + widest.unwrap_or(0);
        let positions = 4 * (size.1.div_ceil(16) as u64) * size.0.div_ceil(16) as u64;
        weights as u64 + positions * (values * size_of::<i16>()) as u64
    }

    /// As it is, but with `slices` slices: the last one has all rows that are left, which may be more
    /// than the others have.
    ///
    /// # Errors
    /// If the picture has no rows for the last one.
    pub fn with_slices(mut self, slices: usize) -> Result<Self> {
        let last = slices.saturating_sub(1).saturating_mul(self.slice);
        if slices == 0 || last >= 2 * self.latents.0 {
            return arguments(format!("{slices} slices in {:?}", self.size));
        }
        self.last = Some(last);
        Ok(self)
    }

    /// Bytes of the quantised latents: i16 `[ceil(height / 16)][ceil(width / 16)][latents]`.
    pub fn latent_bytes(&self) -> usize {
        self.latents.0 * self.latents.1 * self.channels * size_of::<i16>()
    }

    /// Queues the synthesis of a picture from quantised latents `q`; `prediction` is there for
    /// networks of inter pictures only.
    ///
    /// # Errors
    /// If there are too few latents, a frame is not 8-bit 4:2:0 of the size that this was made for, the level
    /// does not exist, there is a prediction where none belongs or none where one does, or what the
    /// driver says.
    pub fn run(
        &mut self,
        kernels: &Kernels,
        stream: &Stream,
        level: usize,
        q: &DeviceBuffer,
        prediction: Option<&DeviceFrame>,
        picture: &DeviceFrame,
    ) -> Result<()> {
        self.run_from(kernels, stream, level, (q, true), prediction, picture)
    }

    /// As [`Self::run`], of latents that are whole already: `y`, -2047 to 2047.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_whole(
        &mut self,
        kernels: &Kernels,
        stream: &Stream,
        level: usize,
        y: &DeviceBuffer,
        prediction: Option<&DeviceFrame>,
        picture: &DeviceFrame,
    ) -> Result<()> {
        self.run_from(kernels, stream, level, (y, false), prediction, picture)
    }

    fn run_from(
        &mut self,
        kernels: &Kernels,
        stream: &Stream,
        level: usize,
        (q, quantised): (&DeviceBuffer, bool),
        prediction: Option<&DeviceFrame>,
        picture: &DeviceFrame,
    ) -> Result<()> {
        if level >= self.levels || q.bytes() < self.latent_bytes() {
            return arguments(format!("no level {level}, or too few latents"));
        }
        if prediction.is_some() != (self.input.inputs[1] != 0) {
            return arguments(
                "a prediction belongs to networks of inter pictures, and to no others",
            );
        }
        let (rows, columns) = self.latents;
        let (count, positions) = (rows * columns, 4 * rows * columns);
        let mut ends = Ends {
            planes: self.planes(picture)?,
            latents: q.address(),
            steps: self.steps.address() + (level * self.channels * size_of::<i32>()) as u64,
            x: self.dequantised.address(),
            direct: self.plain.address(),
            prediction: 0,
            channels: self.channels as u32,
            count: count as u32,
            columns: columns as u32,
            unused: 0,
        };
        let mut latents = q;
        if quantised {
            let size = (self.channels, count, 1);
            // SAFETY: `q` was checked, the buffers are of the picture's size; so for all that follows.
            unsafe { kernels.launch(stream, Kernel::Dequantise, &ends, size)? };
            latents = &self.dequantised;
        }
        let plain = &self.plain;
        let shuffled = (columns, true);
        dense(
            kernels,
            stream,
            &self.direct,
            level,
            [latents, latents],
            plain,
            None,
            count,
            shuffled,
        )?;
        (ends.count, ends.columns) = (positions as u32, 2 * columns as u32);
        if let Some(frame) = prediction {
            let load = Ends {
                planes: self.planes(frame)?,
                x: self.prediction.address(),
                ..ends
            };
            let size = (PIXELS, positions, 1);
            // SAFETY: as above; the frame was checked to be of the picture's size.
            unsafe { kernels.launch(stream, Kernel::PositionsOfSamples, &load, size)? };
            ends.prediction = self.prediction.address();
        }
        let flat = (2 * columns, false);
        let run = |layer: &OnDevice, x: &DeviceBuffer, to: &DeviceBuffer, add| {
            dense(
                kernels,
                stream,
                layer,
                level,
                [x, &self.prediction],
                to,
                add,
                positions,
                flat,
            )
        };
        run(&self.input, &self.plain, &self.features, None)?;
        for (filter, up, down) in &self.blocks {
            let last = self.last.unwrap_or(2 * rows);
            for (from, to, slice) in [(0, last, self.slice), (last, 2 * rows, 2 * rows)] {
                if from == to {
                    continue;
                }
                let at = (from * 2 * columns * filter.channels * size_of::<i16>()) as u64;
                let params = Depthwise {
                    x: self.features.address() + at,
                    weights: filter.weights.address(),
                    bias: filter.bias.address(),
                    out: self.filtered.address() + at,
                    channels: filter.channels as u32,
                    columns: 2 * columns as u32,
                    rows: (to - from) as u32,
                    slice: slice as u32,
                    shift: filter.shift,
                    unused: 0,
                };
                let size = (filter.channels, (to - from) * 2 * columns, 1);
                // SAFETY: as above.
                unsafe { kernels.launch(stream, Kernel::Depthwise, &params, size)? };
            }
            run(up, &self.filtered, &self.expanded, None)?;
            // A value is added where it is written: by the thread that reads it.
            run(down, &self.expanded, &self.features, Some(&self.features))?;
        }
        run(&self.out, &self.features, &self.result, None)?;
        ends.x = self.result.address();
        let size = (PIXELS, positions, 1);
        // SAFETY: as above.
        unsafe { kernels.launch(stream, Kernel::SamplesOfPositions, &ends, size) }
    }

    fn planes(&self, frame: &DeviceFrame) -> Result<[Comp; 3]> {
        let info = frame.format().info();
        let fits = info.family == Family::Yuv && info.depth == 8 && frame.format().grid() == (2, 2);
        if !fits || frame.size() != self.size {
            return arguments(format!(
                "{} {}x{} is not 8-bit 4:2:0 of {:?}",
                info.name,
                frame.width(),
                frame.height(),
                self.size
            ));
        }
        Ok([
            frame.component(0)?,
            frame.component(1)?,
            frame.component(2)?,
        ])
    }
}

/// Queues a dense layer over `positions`, `columns` a row, shuffled or not.
#[allow(clippy::too_many_arguments)]
fn dense(
    kernels: &Kernels,
    stream: &Stream,
    layer: &OnDevice,
    level: usize,
    x: [&DeviceBuffer; 2],
    to: &DeviceBuffer,
    add: Option<&DeviceBuffer>,
    positions: usize,
    (columns, shuffle): (usize, bool),
) -> Result<()> {
    let level = if layer.levels == 1 { 0 } else { level };
    let params = Dense {
        x: x.map(DeviceBuffer::address),
        weights: layer.weights.address(),
        bias: layer.bias.address() + (level * layer.outputs * size_of::<i32>()) as u64,
        out: to.address(),
        add: add.map_or(0, DeviceBuffer::address),
        inputs: layer.inputs.map(|n| n as u32),
        outputs: layer.outputs as u32,
        positions: positions as u32,
        columns: columns as u32,
        shuffle: shuffle.into(),
        shift: layer.shift,
        low: layer.low.into(),
    };
    let size = (layer.outputs, positions.div_ceil(AT_ONCE), 1);
    // SAFETY: layers were checked to fit each other, buffers were made for the picture.
    unsafe { kernels.launch(stream, Kernel::Dense, &params, size) }
}
