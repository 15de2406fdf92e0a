//! A network bound to device memory.

use std::{sync::Arc, time::Duration};

use gstneural_cuda::{DeviceBuffer, DeviceTensor, Element, Event, Order, TensorView};

use super::Gpu;
use crate::{
    bound::{BoundSession, Place, Space},
    device::{Placement, Processor},
    error::{Error, Result},
    guard::Fault,
    model::Model,
    session,
    tensor::{ElementType, Layout},
};

/// Share of white that some pixel has to have before a black result is odd.
const LIT: f32 = 0.25;
/// Share of white below which a picture counts as black.
const BLACK: f32 = 1.0 / 512.0;

/// A network with its two tensors, bound once. Shapes are NCHW here, whatever the layout.
#[derive(Debug)]
pub(super) struct GpuNet {
    // Before the memory that it is bound to.
    session: BoundSession,
    gpu: Gpu,
    model: Arc<Model>,
    placement: Placement,
    input: Bound,
    output: Bound,
    /// What the look for half precision's faults found: in the input, in the output.
    found: [DeviceBuffer; 2],
    began: Event,
    ended: Event,
    spoilt: Option<Fault>,
}

/// A tensor and its memory.
#[derive(Debug)]
struct Bound {
    tensor: DeviceTensor,
    memory: Arc<DeviceBuffer>,
}

impl Bound {
    fn new(gpu: &Gpu, element: ElementType, layout: Layout, shape: [usize; 4]) -> Result<Self> {
        let element = match element {
            ElementType::F32 => Element::F32,
            ElementType::F16 => Element::F16,
            ElementType::U8 => Element::U8,
        };
        let bytes = shape
            .iter()
            .try_fold(element.bytes(), |n, d| n.checked_mul(*d));
        let bytes =
            bytes.ok_or_else(|| Error::Unsupported("a tensor is larger than memory".into()))?;
        // Zeroed: slots of a batch that are not filled yet go through the network as well.
        let memory = DeviceBuffer::zeroed(&gpu.stream, bytes)?;
        let order = match layout {
            Layout::Nchw => Order::Nchw,
            Layout::Nhwc => Order::Nhwc,
        };
        Ok(Self {
            tensor: DeviceTensor::new(memory.address(), bytes, element, order, shape)?,
            memory: Arc::new(memory),
        })
    }
}

impl GpuNet {
    /// Opens the model for inputs and outputs of these shapes (N, C, H, W) and runs it once, so
    /// that what it needs of memory is taken here and not at a frame.
    ///
    /// # Errors
    /// [`Error::Device`] with what the runtime says, [`Error::Cuda`] if the memory is not there.
    pub fn new(
        gpu: &Gpu,
        model: Arc<Model>,
        in_shape: [usize; 4],
        out_shape: [usize; 4],
        placement: Placement,
    ) -> Result<Self> {
        let graphs = placement.processor == Processor::Cuda;
        let with = |graph| {
            let placement = Placement {
                stream: (placement.processor != Processor::Cpu)
                    .then_some(gpu.stream.raw() as usize),
                graph,
                ..placement.clone()
            };
            Self::open(gpu, model.clone(), in_shape, out_shape, placement)
        };
        // Not every network can be captured as a graph, and only a run tells.
        if graphs && let Ok(net) = with(true) {
            return Ok(net);
        }
        with(false)
    }

    fn open(
        gpu: &Gpu,
        model: Arc<Model>,
        in_shape: [usize; 4],
        out_shape: [usize; 4],
        placement: Placement,
    ) -> Result<Self> {
        let info = model.info();
        let element = |own| match own {
            ElementType::F32 if placement.half => ElementType::F16,
            own => own,
        };
        let input = Bound::new(gpu, element(info.input_element), info.layout, in_shape)?;
        let output = Bound::new(gpu, element(info.output_element), info.layout, out_shape)?;
        let session = session::open_bare(&model, &placement)?;
        let space = match placement.processor {
            Processor::Cpu => Space::Host,
            _ => Space::Cuda(placement.id),
        };
        let place = |name, bound: &Bound, own| Place {
            name,
            space,
            address: bound.tensor.address(),
            element: element(own),
            shape: match info.layout {
                Layout::Nchw => bound.tensor.shape(),
                Layout::Nhwc => {
                    let [n, c, h, w] = bound.tensor.shape();
                    [n, h, w, c]
                }
            },
        };
        let (from, to) = (
            place(model.input_name(), &input, info.input_element),
            place(model.output_name(), &output, info.output_element),
        );
        let asynchronous = placement.processor != Processor::Cpu;
        let session = BoundSession::on_device(
            session,
            (&from, input.memory.clone()),
            (&to, output.memory.clone()),
            asynchronous,
        )?;
        let mut net = Self {
            session,
            model: model.clone(),
            placement,
            input,
            output,
            found: [
                DeviceBuffer::zeroed(&gpu.stream, 8)?,
                DeviceBuffer::zeroed(&gpu.stream, 8)?,
            ],
            began: Event::new(&gpu.device)?,
            ended: Event::new(&gpu.device)?,
            gpu: gpu.clone(),
            spoilt: None,
        };
        // A graph is captured in the second run and replayed from the third on.
        for _ in 0..3 {
            net.queue()?;
            net.gpu.stream.synchronise()?;
        }
        Ok(net)
    }

    /// Where it runs.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// What half precision spoilt, if it did and was left for single precision.
    pub fn spoilt(&self) -> Option<Fault> {
        self.spoilt
    }

    /// The input's channels of frame `frame` of a window, in slot `slot` of the batch.
    pub fn input(&self, slot: usize, frame: usize) -> Result<TensorView> {
        let channels = self.model.info().channels.count();
        Ok(self.input.tensor.image(slot, frame * channels, channels)?)
    }

    /// The output of slot `slot`, through the depth-to-space that was taken off the network.
    pub fn output(&self, slot: usize) -> Result<TensorView> {
        let shuffle = self.model.shuffle();
        let channels = self.output.tensor.shape()[1];
        let view = self.output.tensor.image(slot, 0, channels)?;
        Ok(view.shuffled(shuffle.block, shuffle.crd)?)
    }

    /// Queues a run on what is in the input.
    pub fn queue(&mut self) -> Result<()> {
        let stream = &self.gpu.stream;
        if self.placement.processor == Processor::Cpu {
            stream.synchronise()?;
        }
        self.began.record(stream)?;
        self.session.run()?;
        self.ended.record(stream)?;
        if self.placement.half {
            for (bound, found) in [&self.input, &self.output].into_iter().zip(&self.found) {
                self.gpu.kernels.inspect(stream, &bound.tensor, found)?;
            }
        }
        Ok(())
    }

    /// Waits for the last run: the time that the network took, and what half precision spoilt.
    pub fn settle(&self) -> Result<(Duration, Option<Fault>)> {
        self.ended.synchronise()?;
        let time = self.ended.since_ms(&self.began)?;
        let time = Duration::from_secs_f32((time / 1e3).max(0.0));
        if !self.placement.half {
            return Ok((time, None));
        }
        let [input, output] = &self.found;
        let (stream, kernels) = (&self.gpu.stream, &self.gpu.kernels);
        let output = kernels.findings(stream, output)?;
        let white = self.model.info().white;
        let fault = if output.not_finite > 0 {
            Some(Fault::NotFinite)
        } else if output.greatest <= white * BLACK
            && kernels.findings(stream, input)?.greatest > white * LIT
        {
            Some(Fault::Black)
        } else {
            None
        };
        Ok((time, fault))
    }

    /// The same network in single precision, for good.
    pub fn in_single(&self, fault: Fault) -> Result<Self> {
        let placement = Placement {
            half: false,
            ..self.placement.clone()
        };
        let shapes = (self.input.tensor.shape(), self.output.tensor.shape());
        let mut net = Self::new(&self.gpu, self.model.clone(), shapes.0, shapes.1, placement)?;
        net.spoilt = Some(fault);
        Ok(net)
    }
}
