//! Reading an ONNX graph, and what is rewritten in it before it is given to the runtime.

use std::{collections::HashMap, fs, path::Path};

use crate::onnx::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_shape_proto::dimension, type_proto,
};

use crate::{
    error::{Error, Result},
    tensor::ElementType,
};

/// Models larger than this are refused: no super-resolution network is.
const MAX_MODEL_BYTES: u64 = 1 << 30;

/// One axis of a tensor as the model declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dim {
    /// A size that cannot be changed.
    Fixed(usize),
    /// Any size.
    Dynamic,
}

/// The declaration of a graph's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub name: String,
    pub element: Option<ElementType>,
    /// Empty if the model does not declare a shape.
    pub dims: Vec<Dim>,
}

/// A depth-to-space step that was taken off the end of the graph, to be done in the copy-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shuffle {
    pub block: usize,
    /// True: channel = c*b*b + dy*b + dx (PyTorch's order). False: (dy*b + dx)*C + c.
    pub crd: bool,
}

/// Reads and parses a model file.
///
/// # Errors
/// [`Error::Read`] if there is no such file, [`Error::Format`] if it is no ONNX model.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, ModelProto)> {
    let read_error = |source| Error::Read {
        path: path.to_path_buf(),
        source,
    };
    let format = |reason: &str| Error::Format {
        path: path.to_path_buf(),
        reason: reason.into(),
    };
    let size = fs::metadata(path).map_err(read_error)?.len();
    if size == 0 {
        return Err(format("the file is empty"));
    }
    if size > MAX_MODEL_BYTES {
        return Err(format("the file is larger than 1 GiB"));
    }
    let bytes = fs::read(path).map_err(read_error)?;
    let model = ModelProto::parse_from_bytes(&bytes)
        .map_err(|e| format(&format!("it is truncated or no ONNX file at all ({e})")))?;
    let nodes = model.graph.as_ref().map_or(0, |g| g.node.len());
    if nodes == 0 {
        return Err(format("it holds no graph"));
    }
    Ok((bytes, model))
}

/// True if weights lie in files beside the model.
pub(crate) fn has_external_data(graph: &GraphProto) -> bool {
    graph
        .initializer
        .iter()
        .any(|t| !t.external_data.is_empty())
}

/// The inputs that a caller must feed (initializers taken out).
pub(crate) fn inputs(graph: &GraphProto) -> Vec<Port> {
    graph
        .input
        .iter()
        .filter(|i| !graph.initializer.iter().any(|t| t.name == i.name))
        .map(port)
        .collect()
}

/// The outputs.
pub(crate) fn outputs(graph: &GraphProto) -> Vec<Port> {
    graph.output.iter().map(port).collect()
}

fn port(info: &ValueInfoProto) -> Port {
    let mut p = Port {
        name: info.name.clone(),
        element: None,
        dims: Vec::new(),
    };
    if let Some(type_proto::Value::TensorType(t)) =
        info.type_.as_ref().and_then(|t| t.value.as_ref())
    {
        p.element = ElementType::from_onnx(t.elem_type);
        if let Some(shape) = t.shape.as_ref() {
            p.dims = shape
                .dim
                .iter()
                .map(|d| match &d.value {
                    Some(dimension::Value::DimValue(n)) if *n > 0 => {
                        Dim::Fixed(usize::try_from(*n).unwrap_or(usize::MAX))
                    }
                    _ => Dim::Dynamic,
                })
                .collect();
        }
    }
    p
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

fn int_attribute(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.i)
}

/// `node`'s integers of that name, each at least 1, or `default` for both axes.
fn pair_attribute(node: &NodeProto, name: &str, default: i64) -> [f64; 2] {
    let ints = attribute(node, name).map_or(&[][..], |a| a.ints.as_slice());
    let at = |i: usize| {
        ints.get(i)
            .or(ints.first())
            .copied()
            .unwrap_or(default)
            .max(1) as f64
    };
    [at(0), at(1)]
}

/// Takes a final `DepthToSpace` off the graph: the copy to the output frame does it for nothing.
///
/// A `Clip` behind it is kept (element by element, it may as well come first).
pub(crate) fn strip_depth_to_space(graph: &mut GraphProto) -> Option<Shuffle> {
    let output = graph.output.first()?.name.clone();
    let producer = |graph: &GraphProto, name: &str| {
        graph
            .node
            .iter()
            .position(|n| n.output.first().is_some_and(|o| o == name))
    };
    let uses = |graph: &GraphProto, name: &str| {
        graph
            .node
            .iter()
            .flat_map(|n| &n.input)
            .filter(|i| *i == name)
            .count()
            + graph.output.iter().filter(|o| o.name == name).count()
    };
    let last = producer(graph, &output)?;
    let (shuffle_at, clip_at) = match graph.node[last].op_type.as_str() {
        "DepthToSpace" => (last, None),
        "Clip" => {
            let before = graph.node[last].input.first()?.clone();
            let at = producer(graph, &before)?;
            if graph.node[at].op_type != "DepthToSpace" || uses(graph, &before) != 1 {
                return None;
            }
            (at, Some(last))
        }
        _ => return None,
    };
    let node = &graph.node[shuffle_at];
    let block = usize::try_from(int_attribute(node, "blocksize", 0))
        .ok()
        .filter(|b| *b >= 1)?;
    let crd = attribute(node, "mode").is_some_and(|a| a.s == b"CRD");
    let source = node.input.first()?.clone();
    match clip_at {
        Some(clip) => graph.node[clip].input[0] = source,
        None => graph.output[0].name = source,
    }
    // The declared shape is no longer the output's.
    if let Some(type_proto::Value::TensorType(t)) = graph.output[0]
        .type_
        .as_mut()
        .and_then(|t| t.value.as_mut())
    {
        t.shape = None.into();
    }
    graph.node.remove(shuffle_at);
    Some(Shuffle { block, crd })
}

/// The values of an f32 initializer.
fn floats(t: &TensorProto) -> Option<Vec<f32>> {
    if t.data_type != ElementType::F32.to_onnx() {
        return None;
    }
    if !t.raw_data.is_empty() {
        return Some(
            t.raw_data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
        );
    }
    Some(t.float_data.clone())
}

fn float_tensor(name: &str, dims: &[i64], values: impl Iterator<Item = f32>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: ElementType::F32.to_onnx(),
        raw_data: values.flat_map(f32::to_le_bytes).collect(),
        ..Default::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

fn int_attr(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        type_: AttributeType::INT.into(),
        i: value,
        ..Default::default()
    }
}

/// Rewrites each f32 `PRelu` with one slope for each channel; gives how many were rewritten.
///
/// ONNX Runtime neither fuses PRelu nor keeps its blocked layout around it. The identity
/// `PReLU(x) = (1-a)*Relu(x) + a*x` with the two factors as 1x1 depthwise convolutions does stay
/// in that layout, and the sum is fused: a 16-channel, 8-layer network takes 99 ms instead of 141
/// (and 134 for `Relu(x) - a*Relu(-x)`), a 64-channel one 194 instead of 225.
pub(crate) fn rewrite_prelu(graph: &mut GraphProto) -> usize {
    let slopes: HashMap<String, TensorProto> = graph
        .initializer
        .iter()
        .map(|t| (t.name.clone(), t.clone()))
        .collect();
    let mut count = 0;
    let nodes = std::mem::take(&mut graph.node);
    for n in nodes {
        let rewritten = (n.op_type == "PRelu" && n.domain.is_empty())
            .then(|| prelu_parts(&n, &slopes))
            .flatten();
        match rewritten {
            Some((new_nodes, weights)) => {
                graph.node.extend(new_nodes);
                graph.initializer.extend(weights);
                count += 1;
            }
            None => graph.node.push(n),
        }
    }
    count
}

fn prelu_parts(
    n: &NodeProto,
    initializers: &HashMap<String, TensorProto>,
) -> Option<(Vec<NodeProto>, Vec<TensorProto>)> {
    let (x, slope) = (n.input.first()?, initializers.get(n.input.get(1)?)?);
    let y = n.output.first()?;
    // [C,1,1] or [1,C,1,1]; a single slope for all channels has no C to build the weights with.
    let channels = match slope.dims.as_slice() {
        [c, 1, 1] | [1, c, 1, 1] if *c > 1 => *c,
        _ => return None,
    };
    let a = floats(slope).filter(|a| a.len() as i64 == channels)?;
    let name = |part: &str| format!("{y}/prelu_{part}");
    let dims = [channels, 1, 1, 1];
    let weights = vec![
        float_tensor(&name("positive"), &dims, a.iter().map(|a| 1.0 - a)),
        float_tensor(&name("slope"), &dims, a.iter().copied()),
    ];
    let depthwise = |input: &str, part: &str, out: &str| {
        let mut conv = node("Conv", &[input, &name(part)], out);
        conv.attribute.push(int_attr("group", channels));
        conv
    };
    let nodes = vec![
        node("Relu", &[x], &name("relu")),
        depthwise(&name("relu"), "positive", &name("upper")),
        depthwise(x, "slope", &name("lower")),
        node("Add", &[&name("lower"), &name("upper")], y),
    ];
    Some((nodes, weights))
}

/// What the shape of the graph says about tiling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reach {
    /// Input pixels on each side that an output pixel depends on.
    pub radius: usize,
    /// False if something looks at the whole image (attention, global pooling): tiles then differ
    /// from a whole frame, and are blended.
    pub local: bool,
    /// Bytes that live at once for each input pixel, roughly.
    pub bytes_per_pixel: usize,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    radius: f64,
    /// Input pixels for each pixel of this tensor.
    jump: f64,
}

/// Follows the receptive field and the size of the activations through the graph.
pub(crate) fn reach(graph: &GraphProto, multiple: usize) -> Reach {
    let shapes: HashMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .map(|t| (t.name.as_str(), t))
        .collect();
    let mut at: HashMap<&str, Node> = HashMap::new();
    for input in &graph.input {
        if !shapes.contains_key(input.name.as_str()) {
            at.insert(
                &input.name,
                Node {
                    radius: 0.0,
                    jump: 1.0,
                },
            );
        }
    }
    let mut result = Reach {
        radius: 0,
        local: true,
        bytes_per_pixel: 16,
    };
    let mut radius = 0f64;
    let mut reshaped = false;
    for n in &graph.node {
        // Sizes and indices (the further inputs of these) are no pixels.
        let first_only = matches!(
            n.op_type.as_str(),
            "Resize" | "Upsample" | "Reshape" | "Slice" | "Pad" | "Expand" | "Tile"
        );
        let sources: Vec<Node> = n
            .input
            .iter()
            .take(if first_only { 1 } else { usize::MAX })
            .filter_map(|i| at.get(i.as_str()).copied())
            .collect();
        let Some(mut v) = sources.into_iter().reduce(|a, b| Node {
            radius: a.radius.max(b.radius),
            jump: a.jump.min(b.jump),
        }) else {
            continue;
        };
        match n.op_type.as_str() {
            "Shape" | "Size" => continue,
            "Conv" | "ConvTranspose" => {
                let weight = n.input.get(1).and_then(|w| shapes.get(w.as_str()));
                let dims = weight.map_or(&[][..], |w| w.dims.as_slice());
                let k = dims
                    .get(2)
                    .copied()
                    .unwrap_or(3)
                    .max(dims.get(3).copied().unwrap_or(3));
                let dilation = pair_attribute(n, "dilations", 1)[0];
                let stride = pair_attribute(n, "strides", 1)[0];
                let half = (k / 2) as f64 * dilation * v.jump;
                let channels =
                    dims.first().copied().unwrap_or(0) + dims.get(1).copied().unwrap_or(0);
                if n.op_type == "Conv" {
                    v = Node {
                        radius: v.radius + half,
                        jump: v.jump * stride,
                    };
                } else {
                    v = Node {
                        radius: v.radius + half / stride,
                        jump: v.jump / stride,
                    };
                }
                let bytes = channels as f64 * 6.0 / (v.jump * v.jump);
                result.bytes_per_pixel = result.bytes_per_pixel.max(bytes as usize);
            }
            "MaxPool" | "AveragePool" => {
                let k = pair_attribute(n, "kernel_shape", 1)[0];
                let stride = pair_attribute(n, "strides", 1)[0];
                v = Node {
                    radius: v.radius + (k / 2.0).floor() * v.jump,
                    jump: v.jump * stride,
                };
            }
            "DepthToSpace" => v.jump /= int_attribute(n, "blocksize", 1).max(1) as f64,
            "SpaceToDepth" => {
                let b = int_attribute(n, "blocksize", 1).max(1) as f64;
                v = Node {
                    radius: v.radius + (b - 1.0) * v.jump,
                    jump: v.jump * b,
                };
            }
            "Resize" | "Upsample" => {
                v.radius += 2.0 * v.jump;
                // Sizes computed in the graph bring a smaller map back to the input's grid.
                v.jump = v.jump.min(1.0);
            }
            "Reshape" | "Transpose" => reshaped = true,
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" if !channel_axis(n, &shapes) => {
                result.local = false;
            }
            "MatMul"
            | "Gemm"
            | "Softmax"
            | "GlobalAveragePool"
            | "GlobalMaxPool"
            | "InstanceNormalization"
            | "LSTM"
            | "GRU"
            | "Einsum" => result.local = false,
            _ => {}
        }
        radius = radius.max(v.radius);
        for o in &n.output {
            at.insert(o, v);
        }
    }
    // An unshuffle written as Reshape and Transpose hides its stride from us.
    let factor = if reshaped {
        multiple.max(1) as f64
    } else {
        1.0
    };
    result.radius = (radius * factor).ceil().min(1e6) as usize;
    result
}

/// True for a reduction over channels only, which looks at one pixel.
fn channel_axis(n: &NodeProto, initializers: &HashMap<&str, &TensorProto>) -> bool {
    if let Some(a) = attribute(n, "axes") {
        return a.ints == [1];
    }
    n.input
        .get(1)
        .and_then(|i| initializers.get(i.as_str()))
        .is_some_and(|t| {
            t.int64_data == [1] || t.raw_data.as_slice() == 1i64.to_le_bytes().as_slice()
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::onnx::{
        OperatorSetIdProto, TensorShapeProto, TypeProto, tensor_shape_proto::Dimension,
    };

    use super::*;

    /// Builds small models in memory for the tests of this crate.
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

        pub fn graph(&mut self) -> &mut GraphProto {
            self.model.graph.as_mut().unwrap()
        }

        /// A convolution with pseudo-random weights of about +-`gain`.
        pub fn conv(
            mut self,
            from: &str,
            to: &str,
            shape: [i64; 4],
            stride: i64,
            gain: f32,
        ) -> Self {
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

    fn net() -> Builder {
        Builder::new(&[-1, 1, -2, -3], &[-1, 1, -2, -3])
            .conv("input", "a", [8, 1, 3, 3], 1, 0.3)
            .prelu("a", "b", &[0.1, 0.2, 0.3, 0.4, -0.1, 0.6, 0.7, 1.5])
            .conv("b", "c", [4, 8, 5, 5], 1, 0.1)
            .shuffle("c", "output", 2, true)
    }

    #[test]
    fn the_final_shuffle_is_taken_off() {
        let mut b = net();
        let s = strip_depth_to_space(b.graph()).unwrap();
        assert_eq!(
            s,
            Shuffle {
                block: 2,
                crd: true
            }
        );
        assert_eq!(outputs(b.graph())[0].name, "c");
        assert!(outputs(b.graph())[0].dims.is_empty());
        assert_eq!(strip_depth_to_space(b.graph()), None);
    }

    #[test]
    fn a_clip_behind_the_shuffle_stays() {
        let mut b = Builder::new(&[1, 1, 8, 8], &[1, 1, 16, 16])
            .conv("input", "c", [4, 1, 3, 3], 1, 0.3)
            .shuffle("c", "d", 2, false)
            .op("Clip", &["d"], "output");
        assert!(strip_depth_to_space(b.graph()).is_some());
        let ops: Vec<_> = b.graph().node.iter().map(|n| n.op_type.clone()).collect();
        assert_eq!(ops, ["Conv", "Clip"]);
        assert_eq!(b.graph().node[1].input[0], "c");
    }

    #[test]
    fn prelu_is_rewritten() {
        let mut b = net();
        assert_eq!(rewrite_prelu(b.graph()), 1);
        assert!(b.graph().node.iter().all(|n| n.op_type != "PRelu"));
        assert_eq!(rewrite_prelu(b.graph()), 0);
    }

    #[test]
    fn the_reach_is_the_sum_of_the_kernels() {
        let mut b = net();
        let r = reach(b.graph(), 1);
        assert_eq!((r.radius, r.local), (3, true));
        let mut b = Builder::new(&[1, 1, 8, 8], &[1, 1, 16, 16])
            .conv("input", "a", [16, 1, 4, 4], 2, 0.1)
            .conv("a", "b", [16, 16, 3, 3], 1, 0.1)
            .shuffle("b", "output", 4, true);
        assert_eq!(reach(b.graph(), 2).radius, 4);
    }

    #[test]
    fn junk_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        for (bytes, say) in [
            (&b""[..], "empty"),
            (&b"hello world, no model"[..], "no"),
            (&b"\x08\x08"[..], "graph"),
        ] {
            fs::write(&path, bytes).unwrap();
            let e = read(&path).unwrap_err().to_string();
            assert!(e.contains(say), "{e}");
        }
        let whole = net().bytes();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(read(&path).is_err());
    }
}
