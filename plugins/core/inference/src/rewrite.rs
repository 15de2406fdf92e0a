//! What is rewritten in a graph before it is given to the runtime.

use std::collections::HashMap;

use half::f16;

use crate::{
    graph::{attribute, int_attribute},
    info::MAX_SCALE,
    onnx::{
        AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType,
        type_proto,
    },
    tensor::ElementType,
};

/// A depth-to-space step that was taken off the end of the graph, to be done in the copy-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shuffle {
    pub block: usize,
    /// True: channel = c*b*b + dy*b + dx (PyTorch's order). False: (dy*b + dx)*C + c.
    pub crd: bool,
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
        .filter(|b| (1..=MAX_SCALE).contains(b))?;
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

/// Turns a half-precision network into a single-precision one; true if it was one.
///
/// A processor computes in single precision anyway, and the runtime would convert before and after
/// each operation. The result differs by the rounding that is left out (0.2/255 in the networks
/// measured).
pub(crate) fn widen_half(graph: &mut GraphProto) -> bool {
    let half = ElementType::F16.to_onnx();
    let single = ElementType::F32.to_onnx();
    let mut found = false;
    for t in &mut graph.initializer {
        found |= widen_tensor(t);
    }
    for n in &mut graph.node {
        for a in &mut n.attribute {
            if let Some(t) = a.t.as_mut() {
                found |= widen_tensor(t);
            }
            if n.op_type == "Cast" && a.name == "to" && a.i == i64::from(half) {
                a.i = i64::from(single);
                found = true;
            }
        }
    }
    for v in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(type_proto::Value::TensorType(t)) =
            v.type_.as_mut().and_then(|t| t.value.as_mut())
            && t.elem_type == half
        {
            t.elem_type = single;
            found = true;
        }
    }
    if found {
        // The declared types of what lies between are no longer true; the runtime infers them.
        graph.value_info.clear();
    }
    found
}

fn widen_tensor(t: &mut TensorProto) -> bool {
    if t.data_type != ElementType::F16.to_onnx() {
        return false;
    }
    let values: Vec<f32> = if t.raw_data.is_empty() {
        t.int32_data
            .iter()
            .map(|bits| f16::from_bits(*bits as u16).to_f32())
            .collect()
    } else {
        let halves = t.raw_data.as_chunks::<2>().0;
        halves
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect()
    };
    *t = float_tensor(&t.name, &t.dims, values.into_iter());
    true
}

/// The values of an f32 initializer.
pub(crate) fn floats(t: &TensorProto) -> Option<Vec<f32>> {
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

pub(crate) fn float_tensor(
    name: &str,
    dims: &[i64],
    values: impl Iterator<Item = f32>,
) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: ElementType::F32.to_onnx(),
        raw_data: values.flat_map(f32::to_le_bytes).collect(),
        ..Default::default()
    }
}

pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

pub(crate) fn int_attr(name: &str, value: i64) -> AttributeProto {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::outputs,
        testing::{Builder, net},
    };

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
    fn half_precision_is_widened() {
        let mut b = net();
        let values = [0.5f32, -2.0, 65504.0];
        for (raw, name) in [(true, "r"), (false, "i")] {
            let mut t = TensorProto {
                name: name.into(),
                dims: vec![3],
                data_type: ElementType::F16.to_onnx(),
                ..Default::default()
            };
            let bits = values.map(|v| f16::from_f32(v).to_bits());
            if raw {
                t.raw_data = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
            } else {
                t.int32_data = bits.map(i32::from).to_vec();
            }
            b.graph().initializer.push(t);
        }
        assert!(widen_half(b.graph()));
        for t in b.graph().initializer.iter().rev().take(2) {
            assert_eq!(floats(t).unwrap(), values);
        }
        assert!(!widen_half(b.graph()));
    }

    #[test]
    fn prelu_is_rewritten() {
        let mut b = net();
        assert_eq!(rewrite_prelu(b.graph()), 1);
        assert!(b.graph().node.iter().all(|n| n.op_type != "PRelu"));
        assert_eq!(rewrite_prelu(b.graph()), 0);
    }
}
