//! Builds small models in memory for the tests of this crate.

use std::{fs, path::PathBuf, sync::Arc};

use crate::{
    Model,
    onnx::{
        AttributeProto, GraphProto, Message, ModelProto, OperatorSetIdProto, TensorShapeProto,
        TypeProto, ValueInfoProto,
        attribute_proto::AttributeType,
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    },
    rewrite::{float_tensor, int_attr, node},
    runtime,
};

/// A model being built.
pub(crate) struct Builder {
    pub model: ModelProto,
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|d| Dimension {
            value: Some(if *d > 0 {
                dimension::Value::DimValue(*d)
            } else {
                dimension::Value::DimParam(format!("d{name}{d}"))
            }),
            ..Default::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: 1,
        shape: Some(TensorShapeProto {
            dim,
            ..Default::default()
        })
        .into(),
        ..Default::default()
    };
    ValueInfoProto {
        name: name.into(),
        type_: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        })
        .into(),
        ..Default::default()
    }
}

impl Builder {
    pub fn new(input: &[i64], output: &[i64]) -> Self {
        let mut graph = GraphProto {
            name: "g".into(),
            ..Default::default()
        };
        graph.input.push(value("input", input));
        graph.output.push(value("output", output));
        let opset = OperatorSetIdProto {
            version: 17,
            ..Default::default()
        };
        let model = ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(graph).into(),
            ..Default::default()
        };
        Self { model }
    }

    /// A network of two images, `reference` and `distorted`, with the output `distance`.
    pub fn pair(images: &[i64], output: &[i64]) -> Self {
        let mut built = Self::new(images, output);
        let graph = built.graph();
        graph.input = vec![value("reference", images), value("distorted", images)];
        graph.output = vec![value("distance", output)];
        built
    }

    pub fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().unwrap()
    }

    /// A convolution with pseudo-random weights of about +-`gain`.
    pub fn conv(mut self, from: &str, to: &str, shape: [i64; 4], stride: i64, gain: f32) -> Self {
        let mut seed = shape.iter().fold(0x9e37_79b9_7f4a_7c15u64, |s, d| {
            s.rotate_left(9).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ *d as u64
        });
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            ((seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 2.0 * gain
        };
        let count = shape.iter().product::<i64>();
        let w = float_tensor(&format!("{to}.w"), &shape, (0..count).map(|_| next()));
        let mut n = node("Conv", &[from, &w.name], to);
        let pad = shape[2] / 2;
        n.attribute.push(ints("pads", &[pad; 4]));
        n.attribute.push(ints("strides", &[stride; 2]));
        self.graph().initializer.push(w);
        self.graph().node.push(n);
        self
    }

    pub fn op(mut self, op: &str, inputs: &[&str], to: &str) -> Self {
        self.graph().node.push(node(op, inputs, to));
        self
    }

    /// The mean of all values, without an axis.
    pub fn mean(mut self, from: &str, to: &str) -> Self {
        let mut n = node("ReduceMean", &[from], to);
        n.attribute.push(int_attr("keepdims", 0));
        self.graph().node.push(n);
        self
    }

    pub fn prelu(mut self, from: &str, to: &str, slopes: &[f32]) -> Self {
        let t = float_tensor(
            &format!("{to}.a"),
            &[slopes.len() as i64, 1, 1],
            slopes.iter().copied(),
        );
        let n = node("PRelu", &[from, &t.name], to);
        self.graph().initializer.push(t);
        self.graph().node.push(n);
        self
    }

    /// A PRelu whose slopes are computed in the graph, so that it cannot be rewritten.
    pub fn prelu_unrewritable(mut self, from: &str, to: &str, slopes: &[f32]) -> Self {
        self = self.prelu(from, to, slopes);
        let n = self.graph().node.last_mut().unwrap();
        n.input[1] = format!("{to}.a2");
        let prelu = self.graph().node.pop().unwrap();
        let (from, to) = (format!("{to}.a"), format!("{to}.a2"));
        self = self.op("Identity", &[&from], &to);
        self.graph().node.push(prelu);
        self
    }

    pub fn shuffle(mut self, from: &str, to: &str, block: i64, crd: bool) -> Self {
        let mut n = node("DepthToSpace", &[from], to);
        n.attribute.push(int_attr("blocksize", block));
        n.attribute.push(AttributeProto {
            name: "mode".into(),
            type_: AttributeType::STRING.into(),
            s: if crd {
                b"CRD".to_vec()
            } else {
                b"DCR".to_vec()
            },
            ..Default::default()
        });
        self.graph().node.push(n);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.model.write_to_bytes().unwrap()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::INTS.into(),
        ints: values.to_vec(),
        ..Default::default()
    }
}

/// A luma x2 network with a PReLU, a receptive radius of 3 and a final shuffle.
pub(crate) fn net() -> Builder {
    Builder::new(&[-1, 1, -2, -3], &[-1, 1, -2, -3])
        .conv("input", "a", [8, 1, 3, 3], 1, 0.3)
        .prelu("a", "b", &[0.1, 0.2, 0.3, 0.4, -0.1, 0.6, 0.7, 1.5])
        .conv("b", "c", [4, 8, 5, 5], 1, 0.1)
        .shuffle("c", "output", 2, true)
}

/// Where `packaging/setup.sh` puts ONNX Runtime.
fn roots() -> Vec<PathBuf> {
    runtime::roots(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("x"))
}

/// A model of the built graph with a section of metadata.
pub(crate) fn load_with(b: &Builder, modelinfo: &str) -> crate::Result<Arc<Model>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.onnx");
    fs::write(&path, b.bytes()).unwrap();
    if !modelinfo.is_empty() {
        fs::write(
            dir.path().join("net.modelinfo"),
            format!("[nnupscale]\n{modelinfo}"),
        )
        .unwrap();
    }
    Model::load(&path, &roots())
}

/// A model of the built graph, whose white is 1.
pub(crate) fn load(b: &Builder) -> Arc<Model> {
    load_with(b, "range=0,1\n").unwrap()
}
