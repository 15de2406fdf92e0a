//! One network at one fixed shape: tensors allocated and bound once, then run.

use std::path::Path;

use half::f16;
use ort::{
    environment::Environment,
    session::{
        IoBinding, Session,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{PrimitiveTensorElementType, Tensor},
};

use crate::{
    device::{Placement, Processor},
    error::{Error, Result},
    model::Model,
    tensor::{ElementType, Layout},
};

/// A tensor of any element type that networks use.
#[derive(Debug)]
enum Buffer {
    F32(Tensor<f32>),
    F16(Tensor<f16>),
    U8(Tensor<u8>),
}

impl Buffer {
    fn new(element: ElementType, session: &Session, shape: [usize; 4]) -> Result<Self> {
        fn make<T: PrimitiveTensorElementType + std::fmt::Debug>(
            session: &Session,
            shape: [usize; 4],
        ) -> Result<Tensor<T>> {
            Tensor::<T>::new(session.allocator(), shape).map_err(Error::inference)
        }
        Ok(match element {
            ElementType::F32 => Self::F32(make(session, shape)?),
            ElementType::F16 => Self::F16(make(session, shape)?),
            ElementType::U8 => Self::U8(make(session, shape)?),
        })
    }
}

/// Opens a session on the model's (rewritten) graph. `threads` = 0 leaves the number to the runtime.
pub(crate) fn open(model: &Model, placement: &Placement, threads: usize) -> Result<Session> {
    let graph = model.graph_for(placement, true)?;
    open_graph(
        model.environment(),
        model.path(),
        graph.as_deref(),
        placement,
        threads,
    )
}

/// As [`open`], but a graph in half precision has ports in half precision too.
pub(crate) fn open_bare(model: &Model, placement: &Placement) -> Result<Session> {
    let graph = model.graph_for(placement, false)?;
    let (environment, path) = (model.environment(), model.path());
    open_graph(environment, path, graph.as_deref(), placement, 0)
}

/// Opens a session on a graph in memory, or on the file where there is none.
pub(crate) fn open_graph(
    environment: &'static Environment,
    path: &Path,
    bytes: Option<&[u8]>,
    placement: &Placement,
    threads: usize,
) -> Result<Session> {
    let build = || -> std::result::Result<SessionBuilder, String> {
        let builder = Session::builder(environment)
            .map_err(|e| e.to_string())?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| e.to_string())?
            .with_intra_threads(threads)
            .map_err(|e| e.to_string())?
            // Spinning workers would take the cores that the encoder needs between two frames.
            .with_intra_op_spinning(false)
            .map_err(|e| e.to_string())?;
        Ok(builder)
    };
    let mut builder = build().map_err(Error::Inference)?;
    let providers = placement.providers();
    if !providers.is_empty() {
        builder = builder
            .with_execution_providers(providers)
            .map_err(|e| placement.error(e))?;
    }
    let opened = match bytes {
        Some(bytes) => builder.commit_from_memory(bytes),
        None => builder.commit_from_file(path),
    };
    opened.map_err(|e| match placement.processor {
        Processor::Cpu => Error::Format {
            path: path.to_path_buf(),
            reason: e.to_string(),
        },
        // The file was tried on the CPU when it was loaded: it is not to blame.
        _ => placement.error(e),
    })
}

/// A bound session. Shapes are NCHW here, whatever the network's layout is.
#[derive(Debug)]
pub(crate) struct NetSession {
    session: Session,
    binding: IoBinding,
    input: Buffer,
    output: Buffer,
    layout: Layout,
    in_shape: [usize; 4],
    out_shape: [usize; 4],
    /// Planar f32 copies, used when the tensors are not planar f32 themselves.
    in_staging: Vec<f32>,
    out_staging: Vec<f32>,
}

impl NetSession {
    /// Opens the model for inputs of `in_shape` and outputs of `out_shape` (N, C, H, W).
    pub fn new(
        model: &Model,
        in_shape: [usize; 4],
        out_shape: [usize; 4],
        threads: usize,
    ) -> Result<Self> {
        let session = open(model, &Placement::default(), threads)?;
        let layout = model.info().layout;
        let arrange = |[n, c, h, w]: [usize; 4]| match layout {
            Layout::Nchw => [n, c, h, w],
            Layout::Nhwc => [n, h, w, c],
        };
        let (in_element, out_element) = (model.info().input_element, model.info().output_element);
        let mut binding = session.create_binding().map_err(Error::inference)?;
        let mut input = Buffer::new(in_element, &session, arrange(in_shape))?;
        let mut output = Buffer::new(out_element, &session, arrange(out_shape))?;
        let (in_name, out_name) = (model.input_name(), model.output_name());
        match &mut input {
            Buffer::F32(t) => binding.bind_input(in_name, t),
            Buffer::F16(t) => binding.bind_input(in_name, t),
            Buffer::U8(t) => binding.bind_input(in_name, t),
        }
        .map_err(Error::inference)?;
        match &mut output {
            Buffer::F32(t) => binding.bind_output(out_name, t),
            Buffer::F16(t) => binding.bind_output(out_name, t),
            Buffer::U8(t) => binding.bind_output(out_name, t),
        }
        .map_err(Error::inference)?;
        let planar = |e| e == ElementType::F32 && layout == Layout::Nchw;
        let staging = |e, shape: [usize; 4]| {
            if planar(e) {
                Vec::new()
            } else {
                vec![0f32; shape.iter().product()]
            }
        };
        Ok(Self {
            in_staging: staging(in_element, in_shape),
            out_staging: staging(out_element, out_shape),
            session,
            binding,
            input,
            output,
            layout,
            in_shape,
            out_shape,
        })
    }

    /// N, C, H, W of the output.
    pub fn out_shape(&self) -> [usize; 4] {
        self.out_shape
    }

    /// The input as planar f32, to be filled before [`Self::run`].
    pub fn input(&mut self) -> Result<&mut [f32]> {
        if !self.in_staging.is_empty() {
            return Ok(&mut self.in_staging);
        }
        match &mut self.input {
            Buffer::F32(t) => Ok(t.extract_tensor_mut().1),
            _ => Err(Error::Inference("input without a staging buffer".into())),
        }
    }

    /// Runs the network on what [`Self::input`] holds.
    pub fn run(&mut self) -> Result<()> {
        if !self.in_staging.is_empty() {
            let (shape, layout, from) = (self.in_shape, self.layout, &self.in_staging);
            match &mut self.input {
                Buffer::F32(t) => pack(from, t.extract_tensor_mut().1, shape, layout, |v| v),
                Buffer::F16(t) => {
                    pack(from, t.extract_tensor_mut().1, shape, layout, f16::from_f32);
                }
                Buffer::U8(t) => pack(from, t.extract_tensor_mut().1, shape, layout, |v| {
                    (v + 0.5).clamp(0.0, 255.0) as u8
                }),
            }
        }
        self.session
            .run_binding(&self.binding)
            .map_err(Error::inference)?;
        if self.out_staging.is_empty() {
            return Ok(());
        }
        let (shape, layout, to) = (self.out_shape, self.layout, &mut self.out_staging);
        match &self.output {
            Buffer::F32(t) => unpack(t.extract_tensor().1, to, shape, layout, |v| v),
            Buffer::F16(t) => unpack(t.extract_tensor().1, to, shape, layout, f16::to_f32),
            Buffer::U8(t) => unpack(t.extract_tensor().1, to, shape, layout, f32::from),
        }
        Ok(())
    }

    /// The result of the last [`Self::run`] as planar f32.
    pub fn output(&self) -> Result<&[f32]> {
        if !self.out_staging.is_empty() {
            return Ok(&self.out_staging);
        }
        match &self.output {
            Buffer::F32(t) => Ok(t.extract_tensor().1),
            _ => Err(Error::Inference("output without a staging buffer".into())),
        }
    }
}

/// Planar f32 to the network's element type and layout.
fn pack<T>(from: &[f32], to: &mut [T], shape: [usize; 4], layout: Layout, cast: impl Fn(f32) -> T) {
    let [n, c, h, w] = shape;
    match layout {
        Layout::Nchw => to.iter_mut().zip(from).for_each(|(t, v)| *t = cast(*v)),
        Layout::Nhwc => {
            let area = h * w;
            for b in 0..n {
                for (i, pixel) in to[b * area * c..][..area * c]
                    .chunks_exact_mut(c)
                    .enumerate()
                {
                    for (k, t) in pixel.iter_mut().enumerate() {
                        *t = cast(from[(b * c + k) * area + i]);
                    }
                }
            }
        }
    }
}

/// The network's element type and layout to planar f32.
fn unpack<T: Copy>(
    from: &[T],
    to: &mut [f32],
    shape: [usize; 4],
    layout: Layout,
    cast: impl Fn(T) -> f32,
) {
    let [n, c, h, w] = shape;
    match layout {
        Layout::Nchw => to.iter_mut().zip(from).for_each(|(t, v)| *t = cast(*v)),
        Layout::Nhwc => {
            let area = h * w;
            for b in 0..n {
                for (i, pixel) in from[b * area * c..][..area * c].chunks_exact(c).enumerate() {
                    for (k, v) in pixel.iter().enumerate() {
                        to[(b * c + k) * area + i] = cast(*v);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{load, net};

    /// Runs noise through a network.
    fn run() -> Result<Vec<f32>> {
        let model = load(&net());
        let (inputs, outputs) = ([1, 1, 24, 32], model.output_shape(1, 32, 24));
        let mut session = NetSession::new(&model, inputs, outputs, 1)?;
        for (i, v) in session.input()?.iter_mut().enumerate() {
            *v = (i * 37 % 101) as f32 / 101.0;
        }
        session.run()?;
        Ok(session.output()?.to_vec())
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() {
        if crate::gpu_is_there() {
            eprintln!("there is a GPU here");
            return;
        }
        for processor in [Processor::Cuda, Processor::TensorRt] {
            let placement = Placement {
                processor,
                ..Placement::default()
            };
            let e = open_bare(&load(&net()), &placement)
                .unwrap_err()
                .to_string();
            let device = format!("device={}", processor.name());
            assert!(e.contains(&device) && e.contains("device=auto"), "{e}");
        }
    }

    /// The graph that GPUs get, here run by the CPU's provider, which widens it again where it must.
    #[test]
    fn the_half_graph_computes_the_same_but_for_rounding() {
        let model = load(&net());
        let half = Placement {
            processor: Processor::Cuda,
            half: true,
            ..Placement::default()
        };
        let graph = model.graph_for(&half, true).unwrap().unwrap().into_owned();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("half.onnx");
        let environment = model.environment();
        let cpu = Placement::default();
        let mut session = open_graph(environment, &path, Some(&graph), &cpu, 1).unwrap();
        let values: Vec<f32> = (0..24 * 32)
            .map(|i| (i * 37 % 101) as f32 / 101.0)
            .collect();
        let tensor = Tensor::from_array(([1, 1, 24, 32], values)).unwrap();
        let outputs = session
            .run(ort::inputs![model.input_name() => tensor])
            .unwrap();
        let found = outputs[model.output_name()]
            .try_extract_tensor::<f32>()
            .unwrap()
            .1;
        let wanted = run().unwrap();
        let worst = found
            .iter()
            .zip(&wanted)
            .map(|(a, b)| (a - b).abs())
            .fold(0f32, f32::max);
        assert!(worst > 0.0 && worst < 4e-3, "{worst}");
    }

    #[test]
    fn channels_last_round_trip() {
        let shape = [2, 3, 4, 5];
        let from: Vec<f32> = (0..120).map(|i| i as f32).collect();
        let mut packed = vec![0f32; 120];
        pack(&from, &mut packed, shape, Layout::Nhwc, |v| v);
        assert_eq!(packed[1], 20.0, "second channel of the first pixel");
        let mut back = vec![0f32; 120];
        unpack(&packed, &mut back, shape, Layout::Nhwc, |v| v);
        assert_eq!(back, from);
    }
}
