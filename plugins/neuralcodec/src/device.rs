//! Where the synthesis of the lossy profiles runs: on the processor, or on a GPU by
//! `gstneural-cuda`, after the GPU has shown that it computes the same.

use std::sync::{Arc, LazyLock, Mutex, Weak};

use gstneural_codec::{
    BytePlanes, CodecError, FrameLatents, Synthesiser,
    bitstream::ModelHash,
    check_synthesiser,
    nets::{DenseNumbers, DepthwiseNumbers, Kind, LatentInput, Model, SynthesisNumbers},
};
use gstneural_cuda::{
    Cargo, DenseLayer, DepthwiseLayer, Device as Gpu, DeviceBuffer, DeviceFrameBuf,
    DeviceSynthesis, Error, Kernels, Stream, SynthesisLayers,
};
use gstneural_pixels::{Color, FrameMut, FrameRef, PixelFormat, PlaneMut, PlaneRef};

use crate::{coding::Device, locks::lock};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "neuraldevice",
        gst::DebugColorFlags::empty(),
        Some("Device that the networks of neuralenc and neuraldec run on"),
    )
});

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

/// The first GPU with its kernels, which all elements of the process share.
#[derive(Debug)]
struct Shared {
    gpu: Gpu,
    kernels: Kernels,
    /// Models whose results were found to be right.
    checked: Mutex<Vec<ModelHash>>,
}

impl Shared {
    fn open() -> Result<Arc<Self>, Error> {
        static OPEN: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
        let mut open = lock(&OPEN);
        if let Some(shared) = open.upgrade() {
            return Ok(shared);
        }
        let gpu = Gpu::open(0)?;
        let shared = Arc::new(Self {
            kernels: Kernels::new(&gpu)?,
            gpu,
            checked: Mutex::default(),
        });
        *open = Arc::downgrade(&shared);
        Ok(shared)
    }
}

/// Synthesis of a model's frames on the first GPU.
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
    /// Opens the first GPU for a model, and checks that it computes what the CPU does. If it fails
    /// later, that is an error if `only` it is to be used, else the CPU's turn.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn open(model: &Model, only: bool) -> Result<Self, Refusal> {
        let unfit = |e: Error| match e {
            Error::Unavailable(_) | Error::NoSuchDevice { .. } => Refusal::NotThere(e.to_string()),
            _ => Refusal::Unfit(e.to_string()),
        };
        let shared = Shared::open().map_err(unfit)?;
        let stream = Stream::new(&shared.gpu).map_err(unfit)?;
        let of_kind = |kind| Some((kind, layers(model.decoder(kind).ok()?.synthesis_numbers())));
        let synthesiser = Self {
            layers: Kind::ALL.into_iter().filter_map(of_kind).collect(),
            only,
            state: Mutex::new(State {
                stream,
                made: Vec::new(),
                bytes: Vec::new(),
                failed: None,
            }),
            shared,
        };
        if lock(&synthesiser.shared.checked).contains(model.hash()) {
            return Ok(synthesiser);
        }
        let synthesiser = fit(synthesiser, model)?;
        lock(&synthesiser.shared.checked).push(*model.hash());
        gst::info!(CAT, "networks run on {}", synthesiser.shared.gpu.name());
        Ok(synthesiser)
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
        Ok(false)
    }
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
