//! Where the synthesis of the lossy profiles runs: on the processor, or on a GPU by
//! `gstneural-cuda`, after the GPU has shown that it computes the same.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};

use gstneural_codec::{
    BytePlanes, CodecError, FrameLatents, Synthesiser,
    bitstream::ModelHash,
    check_synthesiser,
    nets::{DenseNumbers, DepthwiseNumbers, Kind, LatentInput, Model, SynthesisNumbers},
};
use gstneural_cuda::{
    Budget, Cargo, DenseLayer, DepthwiseLayer, Device as Gpu, DeviceBuffer, DeviceFrameBuf,
    DeviceSynthesis, Error, Kernels, Limits, Member, PATIENCE, Reservation, Slot, Stream,
    SynthesisLayers,
};
use gstneural_pixels::{Color, FrameMut, FrameRef, PixelFormat, PlaneMut, PlaneRef};

use crate::locks::lock;

pub use crate::coding::Device;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "neuraldevice",
        gst::DebugColorFlags::empty(),
        Some("Device that the networks of neuralenc and neuraldec run on"),
    )
});

/// Folder with the lock files of slots that processes share, as nnupscale has it.
const SLOT_FOLDER: &str = "GST_NEURAL_GPU_SLOT_DIR";
/// Time between two tries to get memory.
const PAUSE: Duration = Duration::from_millis(250);

/// What the properties say about where networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// `device`.
    pub device: Device,
    /// `device-id`: which GPU, from 0.
    pub id: u32,
    /// `gpu-mem-limit`: MiB that all elements of the process may take of it together; 0 is no limit.
    pub memory_mib: u32,
    /// `gpu-slots`: elements that may use it at once; 0 is any number.
    pub slots: u32,
}

impl Place {
    /// The properties beside `device`; both elements have them, and nnupscale the same.
    pub(crate) fn properties() -> Vec<glib::ParamSpec> {
        vec![
            glib::ParamSpecUInt::builder("device-id")
                .nick("Device number")
                .blurb("Which GPU, if there are several")
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("gpu-mem-limit")
                .nick("GPU memory limit")
                .blurb("MiB of GPU memory that all elements of this process may take together, 0 = no limit; unused on the CPU")
                .maximum(1 << 20)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("gpu-slots")
                .nick("GPU slots")
                .blurb("How many elements of this process use the GPU at once, others wait; 0 = any number. With GST_NEURAL_GPU_SLOT_DIR those of all processes")
                .maximum(1024)
                .mutable_ready()
                .build(),
        ]
    }

    /// Sets a property; false for one that is not of these.
    pub(crate) fn set(&mut self, value: &glib::Value, name: &str) -> bool {
        let number = |to: &mut u32| *to = value.get().unwrap_or(*to);
        match name {
            "device" => self.device = value.get().unwrap_or(self.device),
            "device-id" => number(&mut self.id),
            "gpu-mem-limit" => number(&mut self.memory_mib),
            "gpu-slots" => number(&mut self.slots),
            _ => return false,
        }
        true
    }

    /// The value of a property; None for one that is not of these.
    pub(crate) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "device" => self.device.to_value(),
            "device-id" => self.id.to_value(),
            "gpu-mem-limit" => self.memory_mib.to_value(),
            "gpu-slots" => self.slots.to_value(),
            _ => return None,
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            bytes: (self.memory_mib > 0).then_some(u64::from(self.memory_mib) << 20),
            slots: (self.slots > 0).then_some(self.slots as usize),
            folder: std::env::var_os(SLOT_FOLDER).map(Into::into),
        }
    }
}

/// What the frames of a stream are to its networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Luma samples a row.
    pub width: u32,
    /// Luma rows.
    pub height: u32,
    /// Whether no frame is predicted from others.
    pub intra_only: bool,
}

/// Why a device is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    NotThere(String),
    /// It computes something else, or fails.
    Unfit(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::NotThere(why) | Self::Unfit(why)) = self;
        f.write_str(why)
    }
}

/// The GPU that synthesises, if one is wanted and fit; none is the processor. `open` opens it.
///
/// # Errors
/// Why there is none, if `wanted` is [`Device::Cuda`].
pub(crate) fn choose<S>(
    wanted: Device,
    open: impl FnOnce() -> Result<S, Refusal>,
) -> Result<Option<S>, CodecError> {
    if wanted == Device::Cpu {
        return Ok(None);
    }
    match (open(), wanted) {
        (Ok(found), _) => Ok(Some(found)),
        (Err(why), Device::Cuda) => Err(CodecError::Device(format!(
            "device=cuda: {why}; device=cpu does without, device=auto takes what there is"
        ))),
        (Err(Refusal::NotThere(why)), _) => {
            gst::debug!(CAT, "no GPU: {why}");
            Ok(None)
        }
        (Err(Refusal::Unfit(why)), _) => {
            gst::warning!(CAT, "the GPU is left alone, the processor works: {why}");
            Ok(None)
        }
    }
}

/// Tells what keeps `device=cuda` from working whatever the stream is.
///
/// # Errors
/// A sentence.
pub(crate) fn check(wanted: Device) -> Result<(), String> {
    match gstneural_cuda::available() {
        Err(why) if wanted == Device::Cuda => Err(format!(
            "device=cuda: CUDA is not available: {why}; device=cpu does without, device=auto takes what there is"
        )),
        _ => Ok(()),
    }
}

/// Checks that what was opened for a model computes what the CPU does.
///
/// # Errors
/// [`Refusal::Unfit`].
pub(crate) fn fit<S: Synthesiser>(synthesiser: S, model: &Model) -> Result<S, Refusal> {
    match check_synthesiser(model, &synthesiser) {
        Ok(()) => Ok(synthesiser),
        Err(CodecError::Device(why)) => Err(Refusal::Unfit(why)),
        Err(e) => Err(Refusal::Unfit(e.to_string())),
    }
}

/// A GPU with its kernels, which all elements of the process share.
#[derive(Debug)]
struct Shared {
    gpu: Gpu,
    kernels: Kernels,
    /// Models whose results were found to be right.
    checked: Mutex<Vec<ModelHash>>,
}

impl Shared {
    fn open(id: usize) -> Result<Arc<Self>, Error> {
        static OPEN: LazyLock<Mutex<HashMap<usize, Weak<Shared>>>> = LazyLock::new(Mutex::default);
        let mut open = lock(&OPEN);
        if let Some(shared) = open.get(&id).and_then(Weak::upgrade) {
            return Ok(shared);
        }
        let gpu = Gpu::open(id)?;
        let shared = Arc::new(Self {
            kernels: Kernels::new(&gpu)?,
            gpu,
            checked: Mutex::default(),
        });
        open.insert(id, Arc::downgrade(&shared));
        Ok(shared)
    }
}

/// What a stream has of the GPU's budget, given back with it.
#[derive(Debug)]
struct Held {
    _slot: Slot,
    _member: Member,
    _reservation: Option<Reservation>,
}

/// Synthesis of a model's frames on a GPU.
#[derive(Debug)]
pub struct CudaSynthesiser {
    shared: Arc<Shared>,
    /// Of the kinds that the model has networks for.
    layers: Vec<(Kind, SynthesisLayers)>,
    /// Whether a failure is an error, and not the CPU's turn.
    only: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stream: Stream,
    /// One for each kind, of the size of the last frame.
    made: Vec<Made>,
    held: Option<Held>,
    /// Latents as bytes.
    bytes: Vec<u8>,
    failed: Option<String>,
}

/// The networks of a kind for frames of a size.
#[derive(Debug)]
struct Made {
    kind: Kind,
    /// Width, height, rows of a slice, slices.
    shape: [usize; 4],
    synthesis: DeviceSynthesis,
    latents: DeviceBuffer,
    prediction: Option<DeviceFrameBuf>,
    picture: DeviceFrameBuf,
}

impl CudaSynthesiser {
    /// Opens a GPU for a model and frames of a shape, takes all memory that they need of the budget
    /// that every element of the process shares, and checks that it computes what the CPU does.
    /// Waits up to [`PATIENCE`] each for a slot and for memory. If the GPU fails later, that is an
    /// error with `device=cuda`, else the CPU's turn.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn open(model: &Model, place: &Place, shape: Shape) -> Result<Self, Refusal> {
        let unfit = |e: Error| match e {
            Error::Unavailable(_) => Refusal::NotThere(e.to_string()),
            _ => Refusal::Unfit(e.to_string()),
        };
        let id = place.id as usize;
        let shared = Shared::open(id).map_err(unfit)?;
        let budget = Budget::of(id);
        let member = budget.join(place.limits());
        let held = Held {
            _slot: budget.slot(PATIENCE).map_err(unfit)?,
            _member: member,
            _reservation: None,
        };
        let stream = Stream::new(&shared.gpu).map_err(unfit)?;
        let of_kind = |kind| Some((kind, layers(model.decoder(kind).ok()?.synthesis_numbers())));
        let mut synthesiser = Self {
            layers: Kind::ALL.into_iter().filter_map(of_kind).collect(),
            only: place.device == Device::Cuda,
            state: Mutex::new(State {
                stream,
                made: Vec::new(),
                held: Some(held),
                bytes: Vec::new(),
                failed: None,
            }),
            shared,
        };
        if !lock(&synthesiser.shared.checked).contains(model.hash()) {
            synthesiser = fit(synthesiser, model)?;
            lock(&synthesiser.shared.checked).push(*model.hash());
            let name = synthesiser.shared.gpu.name();
            gst::info!(CAT, "networks run on {name}");
        }
        synthesiser.take(&budget, shape).map_err(unfit)?;
        Ok(synthesiser)
    }

    /// Takes the memory for frames of a shape, so that none is missing in mid-stream.
    fn take(&self, budget: &Budget, shape: Shape) -> Result<(), Error> {
        let state = &mut *lock(&self.state);
        // Those of the check.
        state.made.clear();
        let (width, height) = (shape.width as usize, shape.height as usize);
        let (slice_rows, slices) = FrameLatents::slicing(height);
        let needed = |kind| kind != Kind::Inter || !shape.intra_only;
        let kinds = self.layers.iter().filter(|(kind, _)| needed(*kind));
        let bytes = kinds.clone().map(|(kind, layers)| {
            let frames = if *kind == Kind::Inter { 2 } else { 1 };
            DeviceSynthesis::bytes_of(layers, (width, height))
                + frames * DeviceFrameBuf::bytes_of(PixelFormat::I420, width, height)
                + latent_bytes(layers, (width, height))
        });
        let reservation = budget.reserve(bytes.sum(), PATIENCE)?;
        let begun = Instant::now();
        for (kind, _) in kinds {
            let made = loop {
                match self.make(&state.stream, *kind, [width, height, slice_rows, slices]) {
                    // Others, of other processes too, may give some back.
                    Err(Error::OutOfMemory { .. }) if begun.elapsed() < PATIENCE => {
                        thread::sleep(PAUSE);
                    }
                    made => break made?,
                }
            };
            state.made.push(made);
        }
        if let Some(held) = &mut state.held {
            held._reservation = Some(reservation);
        }
        Ok(())
    }

    /// What the GPU's maker calls it.
    pub fn name(&self) -> &str {
        self.shared.gpu.name()
    }

    /// Why it is not in use any more.
    pub fn failed(&self) -> Option<String> {
        lock(&self.state).failed.clone()
    }

    fn run(
        &self,
        state: &mut State,
        frame: &FrameLatents<'_>,
        picture: &mut BytePlanes,
    ) -> Result<(), Error> {
        let shape = [frame.width, frame.height, frame.slice_rows, frame.slices];
        let State {
            stream,
            made,
            bytes,
            ..
        } = state;
        made.retain(|m| m.shape == shape);
        let at = match made.iter().position(|m| m.kind == frame.kind) {
            Some(at) => at,
            None => {
                made.push(self.make(stream, frame.kind, shape)?);
                made.len() - 1
            }
        };
        let none = || Error::Arguments("no networks for this kind of picture".into());
        let made = made.get_mut(at).ok_or_else(none)?;
        let values = frame.latents.values();
        bytes.resize(size_of_val(values), 0);
        for (to, v) in bytes.chunks_exact_mut(2).zip(values) {
            to.copy_from_slice(&v.to_ne_bytes());
        }
        made.latents.upload(stream, 0, bytes, Cargo::Frame)?;
        let mut prediction = None;
        if let (Some(to), Some(from)) = (&made.prediction, frame.prediction) {
            to.frame().upload(stream, &frame_of(from)?)?;
            prediction = Some(to.frame());
        }
        let (kernels, level) = (&self.shared.kernels, frame.level.get().into());
        let (latents, out) = (&made.latents, made.picture.frame());
        let prediction = prediction.as_ref();
        let synthesis = &mut made.synthesis;
        match frame.latents {
            LatentInput::Quantised(_) => {
                synthesis.run(kernels, stream, level, latents, prediction, &out)?;
            }
            LatentInput::Whole(_) => {
                synthesis.run_whole(kernels, stream, level, latents, prediction, &out)?;
            }
        }
        out.download(stream, &mut frame_mut_of(picture)?)
    }

    fn make(&self, stream: &Stream, kind: Kind, shape: [usize; 4]) -> Result<Made, Error> {
        let none = || Error::Arguments("no networks for this kind of picture".into());
        let layers = self.layers.iter().find(|(k, _)| *k == kind);
        let (_, layers) = layers.ok_or_else(none)?;
        let [width, height, slice_rows, slices] = shape;
        let gpu = &self.shared.gpu;
        let frame = || DeviceFrameBuf::new(gpu, PixelFormat::I420, width, height, Color::default());
        let synthesis = DeviceSynthesis::new(stream, layers, (width, height), slice_rows)?;
        let synthesis = synthesis.with_slices(slices)?;
        Ok(Made {
            kind,
            shape,
            latents: DeviceBuffer::new(gpu, synthesis.latent_bytes())?,
            synthesis,
            prediction: (kind == Kind::Inter).then(frame).transpose()?,
            picture: frame()?,
        })
    }
}

impl Synthesiser for CudaSynthesiser {
    fn synthesise(
        &self,
        frame: &FrameLatents<'_>,
        picture: &mut BytePlanes,
    ) -> Result<bool, CodecError> {
        let state = &mut *lock(&self.state);
        let Err(e) = self.run(state, frame, picture) else {
            return Ok(true);
        };
        if self.only {
            return Err(CodecError::Device(e.to_string()));
        }
        gst::warning!(CAT, "the GPU gives up, the processor goes on: {e}");
        state.failed = Some(e.to_string());
        // Others may need the memory.
        state.made.clear();
        state.held = None;
        Ok(false)
    }
}

/// Bytes of the latents of a frame of `size` (width, height).
fn latent_bytes(layers: &SynthesisLayers, (width, height): (usize, usize)) -> u64 {
    let positions = width.div_ceil(16) * height.div_ceil(16);
    (positions * layers.direct.inputs[0] * size_of::<i16>()) as u64
}

fn frame_of(planes: &BytePlanes) -> Result<FrameRef<'_>, Error> {
    let [y, u, v] = &planes.planes;
    let views = [(0, y), (1, u), (2, v)].map(|(p, data)| PlaneRef {
        data,
        stride: planes.plane_size(p).0,
    });
    let (width, height) = (planes.width, planes.height);
    let frame = FrameRef::new(PixelFormat::I420, width, height, Color::default(), &views)?;
    Ok(frame)
}

fn frame_mut_of(planes: &mut BytePlanes) -> Result<FrameMut<'_>, Error> {
    let strides = [0, 1, 2].map(|p| planes.plane_size(p).0);
    let (width, height) = (planes.width, planes.height);
    let views = planes.planes.iter_mut().zip(strides);
    let views = views.map(|(data, stride)| PlaneMut { data, stride });
    let frame = FrameMut::new(PixelFormat::I420, width, height, Color::default(), views)?;
    Ok(frame)
}

fn dense(n: DenseNumbers) -> DenseLayer {
    DenseLayer {
        inputs: n.inputs,
        outputs: n.outputs,
        weights: n.weights,
        bias: n.bias,
        shift: n.shift,
        low: n.low,
    }
}

fn depthwise(n: DepthwiseNumbers) -> DepthwiseLayer {
    DepthwiseLayer {
        weights: n.weights,
        bias: n.bias,
        shift: n.shift,
    }
}

fn layers(n: SynthesisNumbers) -> SynthesisLayers {
    let blocks = n
        .blocks
        .into_iter()
        .map(|b| (depthwise(b.depthwise), dense(b.up), dense(b.down)));
    SynthesisLayers {
        steps: n.steps,
        direct: dense(n.direct),
        input: dense(n.input),
        blocks: blocks.collect(),
        out: dense(n.out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    /// Gives grey, whatever comes.
    #[derive(Debug)]
    struct Grey;

    impl Synthesiser for Grey {
        fn synthesise(
            &self,
            _frame: &FrameLatents<'_>,
            picture: &mut BytePlanes,
        ) -> Result<bool, CodecError> {
            picture.planes.iter_mut().for_each(|p| p.fill(128));
            Ok(true)
        }
    }

    #[test]
    fn a_device_that_computes_something_else_is_refused() {
        let model = models::of_tier(0).unwrap();
        let open = || fit(Grey, &model);
        assert!(choose(Device::Auto, open).unwrap().is_none());
        assert!(choose(Device::Cpu, open).unwrap().is_none());
        let said = choose(Device::Cuda, open).unwrap_err().to_string();
        assert!(said.contains("device=cuda: its arithmetic"), "{said}");
        assert!(said.contains("device=cpu"), "{said}");
    }

    #[test]
    fn the_processor_is_not_asked_for_a_gpu() {
        let open = || -> Result<Grey, Refusal> { panic!("a GPU was looked for") };
        assert!(choose(Device::Cpu, open).unwrap().is_none());
        let missing = || Err::<Grey, _>(Refusal::NotThere("no driver".into()));
        assert!(choose(Device::Auto, missing).unwrap().is_none());
        let said = choose(Device::Cuda, missing).unwrap_err().to_string();
        assert!(said.contains("no driver"), "{said}");
    }
}
