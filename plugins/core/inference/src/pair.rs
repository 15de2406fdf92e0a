//! Networks that take two images and give a number: how far apart the two are.
//!
//! Such a model is one ONNX file with two inputs of RGB in single precision, `[N, 3, H, W]`, the
//! reference and the distorted image, and one output with a number for each pair. If the inputs are
//! named `reference` and `distorted` their order does not matter. It says of itself, in the
//! properties `metadata_props` of the file:
//!
//! | property | values | meaning |
//! |---|---|---|
//! | `lpips.range` | `-1,1`, `0,1` | the values of black and white |
//! | `lpips.weights` | text | which published weights it holds, such as `lpips-v0.1-alex` |
//!
//! `models/training/lpips.py` writes such files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ort::{
    environment::Environment,
    session::{IoBinding, Session},
    value::Tensor,
};

use crate::{
    device::Placement,
    error::{Error, Result},
    graph::{self, Dim, Port},
    onnx::ModelProto,
    runtime, session,
    tensor::ElementType,
};

const RANGE: &str = "lpips.range";
const WEIGHTS: &str = "lpips.weights";

/// The values that a network takes for black and white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairRange {
    /// Black's.
    pub black: f32,
    /// White's.
    pub white: f32,
}

/// A network of two images.
#[derive(Debug)]
pub struct PairModel {
    path: PathBuf,
    environment: &'static Environment,
    inputs: [Port; 2],
    output: String,
    range: PairRange,
    weights: Option<String>,
}

impl PairModel {
    /// Loads a model and looks at what it takes and gives.
    ///
    /// `roots` are the folders to look for ONNX Runtime in (see [`runtime::roots`]).
    ///
    /// # Errors
    /// [`Error::Runtime`], [`Error::Read`]; [`Error::Format`] if it is no network of two images;
    /// [`Error::Metadata`] names the property that is missing.
    pub fn load(path: &Path, roots: &[PathBuf]) -> Result<Arc<Self>> {
        let proto = graph::read(path)?;
        let format = |reason: String| Error::Format {
            path: path.to_path_buf(),
            reason,
        };
        let graph = proto.graph.get_or_default();
        let mut inputs = <[Port; 2]>::try_from(graph::inputs(graph)).map_err(|ports| {
            format(format!(
                "it has {} inputs; a network that compares has two (reference and distorted)",
                ports.len()
            ))
        })?;
        if inputs[0].name == "distorted" && inputs[1].name == "reference" {
            inputs.swap(0, 1);
        }
        for port in &inputs {
            let rgb = matches!(port.dims.get(1), Some(Dim::Fixed(3) | Dim::Dynamic));
            if port.element != Some(ElementType::F32) || port.dims.len() != 4 || !rgb {
                return Err(format(format!(
                    "its input \"{}\" is not float32 RGB of the shape [N, 3, H, W]",
                    port.name
                )));
            }
        }
        let output = match graph::outputs(graph).as_slice() {
            [output] if output.element == Some(ElementType::F32) => output.name.clone(),
            [output] => {
                return Err(format(format!(
                    "its output \"{}\" is not float32",
                    output.name
                )));
            }
            ports => {
                return Err(format(format!(
                    "it has {} outputs; a network that compares has one (the distance)",
                    ports.len()
                )));
            }
        };
        let range = match property(&proto, RANGE).map(str::trim) {
            Some("-1,1") => (-1.0, 1.0),
            Some("0,1") => (0.0, 1.0),
            other => {
                let reason = match other {
                    Some(text) => format!("{RANGE}={text} is neither \"-1,1\" nor \"0,1\""),
                    None => format!(
                        "the metadata property {RANGE} is missing; it is \"-1,1\" or \"0,1\", the \
                         values of black and white that the network takes"
                    ),
                };
                return Err(Error::Metadata {
                    path: path.to_path_buf(),
                    reason,
                });
            }
        };
        Ok(Arc::new(Self {
            path: path.to_path_buf(),
            environment: runtime::environment(roots)?,
            inputs,
            output,
            range: PairRange {
                black: range.0,
                white: range.1,
            },
            weights: property(&proto, WEIGHTS).map(str::to_owned),
        }))
    }

    /// The file it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The values of black and white.
    pub fn range(&self) -> PairRange {
        self.range
    }

    /// Which published weights it says that it holds.
    pub fn weights(&self) -> Option<&str> {
        self.weights.as_deref()
    }

    /// Whether it takes images of this size.
    fn check_size(&self, width: usize, height: usize) -> Result<()> {
        for port in &self.inputs {
            for (at, size) in [(0, 1), (2, height), (3, width)] {
                if let Some(Dim::Fixed(n)) = port.dims.get(at)
                    && *n != size
                {
                    return Err(Error::Unsupported(format!(
                        "{}: its input \"{}\" has a fixed axis {at} of {n}, not of {size}; frames \
                         are {width}x{height}",
                        self.path.display(),
                        port.name
                    )));
                }
            }
        }
        Ok(())
    }
}

fn property<'a>(proto: &'a ModelProto, key: &str) -> Option<&'a str> {
    let found = proto.metadata_props.iter().find(|p| p.key == key);
    found.map(|p| p.value.as_str())
}

/// A [`PairModel`] opened for one size of image.
#[derive(Debug)]
pub struct PairSession {
    model: Arc<PairModel>,
    session: Session,
    binding: IoBinding,
    inputs: [Tensor<f32>; 2],
}

impl PairSession {
    /// Opens a model for images of `width` x `height`. `threads` = 0 leaves the number to the
    /// runtime.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the model takes another size only, [`Error::Format`] if the runtime
    /// refuses the graph.
    pub fn new(
        model: &Arc<PairModel>,
        (width, height): (usize, usize),
        threads: usize,
    ) -> Result<Self> {
        model.check_size(width, height)?;
        let session = session::open_graph(
            model.environment,
            &model.path,
            None,
            &Placement::default(),
            threads,
        )?;
        let tensor = || {
            Tensor::<f32>::new(session.allocator(), [1, 3, height, width]).map_err(Error::inference)
        };
        let inputs = [tensor()?, tensor()?];
        let mut binding = session.create_binding().map_err(Error::inference)?;
        for (port, tensor) in model.inputs.iter().zip(&inputs) {
            binding
                .bind_input(&port.name, tensor)
                .map_err(Error::inference)?;
        }
        let memory = &session.allocator().memory_info();
        binding
            .bind_output_to_device(&model.output, memory)
            .map_err(Error::inference)?;
        Ok(Self {
            model: model.clone(),
            session,
            binding,
            inputs,
        })
    }

    /// The model.
    pub fn model(&self) -> &PairModel {
        &self.model
    }

    /// Reference and distorted as planar RGB, red first, to be filled before [`Self::run`] with
    /// values in the model's [`PairModel::range`].
    pub fn images(&mut self) -> [&mut [f32]; 2] {
        let [a, b] = &mut self.inputs;
        [a.extract_tensor_mut().1, b.extract_tensor_mut().1]
    }

    /// The number for what [`Self::images`] holds.
    ///
    /// # Errors
    /// [`Error::Inference`] if the run fails, for example on images that are too small for the
    /// network, or if it does not give exactly one finite number.
    pub fn run(&mut self) -> Result<f32> {
        let outputs = self
            .session
            .run_binding(&self.binding)
            .map_err(Error::inference)?;
        let wrong =
            |what: String| Error::Inference(format!("{}: {what}", self.model.path.display()));
        let output = outputs
            .get(&self.model.output)
            .ok_or_else(|| wrong("the network gave nothing".into()))?;
        match output
            .try_extract_tensor::<f32>()
            .map_err(Error::inference)?
            .1
        {
            [value] if value.is_finite() => Ok(*value),
            [value] => Err(wrong(format!("the network gave {value}"))),
            values => Err(wrong(format!(
                "the network gave {} numbers for a pair, not one",
                values.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        onnx::{Message, StringStringEntryProto},
        testing::Builder,
    };

    /// The mean absolute difference of two images, as a graph.
    fn difference(range: Option<&str>) -> Builder {
        let mut net = Builder::pair(&[-1, 3, -2, -3], &[]);
        net = net
            .op("Sub", &["reference", "distorted"], "d")
            .op("Abs", &["d"], "a")
            .mean("a", "distance");
        if let Some(range) = range {
            net.model.metadata_props.push(StringStringEntryProto {
                key: RANGE.into(),
                value: range.into(),
                ..Default::default()
            });
        }
        net
    }

    fn write(net: &Builder, dir: &Path) -> PathBuf {
        let path = dir.join("pair.onnx");
        fs::write(&path, net.model.write_to_bytes().unwrap()).unwrap();
        path
    }

    fn roots() -> Vec<PathBuf> {
        runtime::roots(Path::new(env!("CARGO_MANIFEST_DIR")))
    }

    #[test]
    fn two_images_give_a_number() {
        let dir = tempfile::tempdir().unwrap();
        for swapped in [false, true] {
            let mut net = difference(Some("-1,1"));
            if swapped {
                net.graph().input.swap(0, 1);
            }
            let model = PairModel::load(&write(&net, dir.path()), &roots()).unwrap();
            assert_eq!((model.range().black, model.range().white), (-1.0, 1.0));
            assert_eq!(model.weights(), None);
            assert_eq!(model.inputs[0].name, "reference");
            let mut session = PairSession::new(&model, (5, 4), 1).unwrap();
            for shift in [0.0, 0.25, 0.5] {
                let [a, b] = session.images();
                assert_eq!((a.len(), b.len()), (60, 60));
                a.fill(0.5);
                b.fill(0.5 - shift);
                assert!((session.run().unwrap() - shift).abs() < 1e-6);
            }
            session.images()[0].fill(f32::NAN);
            assert!(session.run().unwrap_err().to_string().contains("NaN"));
        }
    }

    #[test]
    fn what_is_no_such_network_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let say = |net: &Builder| {
            let loaded = PairModel::load(&write(net, dir.path()), &roots());
            loaded.map(drop).unwrap_err().to_string()
        };
        assert!(say(&difference(None)).contains("lpips.range is missing"));
        assert!(say(&difference(Some("0,255"))).contains("neither"));
        assert!(say(&crate::testing::net()).contains("1 inputs"));
        let grey =
            Builder::pair(&[-1, 1, -2, -3], &[]).op("Sub", &["reference", "distorted"], "distance");
        assert!(say(&grey).contains("[N, 3, H, W]"));

        let mut fixed = difference(Some("0,1"));
        let graph = fixed.graph();
        graph.input = Builder::pair(&[1, 3, 8, 8], &[]).graph().input.clone();
        let model = PairModel::load(&write(&fixed, dir.path()), &roots()).unwrap();
        let error = PairSession::new(&model, (9, 8), 1).map(drop).unwrap_err();
        assert!(error.to_string().contains("fixed axis 3 of 8"), "{error}");

        let many = Builder::pair(&[-1, 3, -2, -3], &[-1, 3, -2, -3]);
        let mut many = many.op("Sub", &["reference", "distorted"], "distance");
        many.model.metadata_props = fixed.model.metadata_props.clone();
        let model = PairModel::load(&write(&many, dir.path()), &roots()).unwrap();
        let mut session = PairSession::new(&model, (4, 4), 1).unwrap();
        session.images().into_iter().for_each(|v| v.fill(0.0));
        let error = session.run().unwrap_err().to_string();
        assert!(error.contains("48 numbers"), "{error}");
    }
}
