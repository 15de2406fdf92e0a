//! Half-precision graphs of single-precision networks, for GPUs.

use std::collections::HashSet;

use half::f16;

use crate::{
    onnx::{GraphProto, NodeProto, TensorProto, type_proto},
    rewrite::{floats, int_attr, node},
    tensor::ElementType,
};

/// Turns a network into half precision.
///
/// With `keep_ports` its input and output stay in single precision and are cast in the graph, on
/// the device; else they become half precision themselves.
///
/// # Errors
/// The name of a weight that is beyond the range of half precision.
pub(crate) fn narrow(graph: &mut GraphProto, keep_ports: bool) -> Result<(), String> {
    let kept = single_forever(graph);
    let single = ElementType::F32.to_onnx();
    let half = ElementType::F16.to_onnx();
    for t in &mut graph.initializer {
        if !kept.contains(&t.name) {
            narrow_tensor(t)?;
        }
    }
    for n in &mut graph.node {
        let stays = n.output.iter().any(|o| kept.contains(o));
        for a in &mut n.attribute {
            if let Some(t) = a.t.as_mut().filter(|_| !stays) {
                narrow_tensor(t)?;
            }
            if n.op_type == "Cast" && a.name == "to" && a.i == i64::from(single) {
                a.i = i64::from(half);
            }
        }
    }
    let weights: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    for (is_input, list) in [(true, &mut graph.input), (false, &mut graph.output)] {
        for v in list.iter_mut() {
            if is_input && weights.contains(&v.name) && kept.contains(&v.name) {
                continue;
            }
            let Some(type_proto::Value::TensorType(t)) =
                v.type_.as_mut().and_then(|t| t.value.as_mut())
            else {
                continue;
            };
            if t.elem_type != single {
                continue;
            }
            if !keep_ports || weights.contains(&v.name) {
                t.elem_type = half;
                continue;
            }
            let inner = format!("{}/half", v.name);
            for n in &mut graph.node {
                let names = if is_input {
                    &mut n.input
                } else {
                    &mut n.output
                };
                names
                    .iter_mut()
                    .filter(|o| **o == v.name)
                    .for_each(|o| o.clone_from(&inner));
                // A result may be used inside as well.
                if !is_input {
                    n.input
                        .iter_mut()
                        .filter(|o| **o == v.name)
                        .for_each(|o| o.clone_from(&inner));
                }
            }
            let (from, to) = if is_input {
                (&v.name, &inner)
            } else {
                (&inner, &v.name)
            };
            let cast = cast(from, to, if is_input { half } else { single });
            if is_input {
                graph.node.insert(0, cast);
            } else {
                graph.node.push(cast);
            }
        }
    }
    // The declared types of what lies between are no longer true; the runtime infers them.
    graph.value_info.clear();
    Ok(())
}

fn cast(from: &str, to: &str, element: i32) -> NodeProto {
    let mut cast = node("Cast", &[from], to);
    cast.name = format!("{to}/cast");
    cast.attribute.push(int_attr("to", element.into()));
    cast
}

/// Tensors that ONNX wants in single precision whatever the images are: `Resize`'s region and
/// scales, `Upsample`'s scales.
fn single_forever(graph: &GraphProto) -> HashSet<String> {
    let mut kept = HashSet::new();
    for n in &graph.node {
        let inputs: &[usize] = match n.op_type.as_str() {
            "Resize" => &[1, 2],
            "Upsample" => &[1],
            _ => &[],
        };
        kept.extend(inputs.iter().filter_map(|i| n.input.get(*i)).cloned());
    }
    kept
}

fn narrow_tensor(t: &mut TensorProto) -> Result<(), String> {
    let Some(values) = floats(t) else {
        return Ok(());
    };
    let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
    if let Some((_, v)) = halves
        .iter()
        .zip(&values)
        .find(|(h, v)| h.is_infinite() && v.is_finite())
    {
        return Err(format!(
            "the weights of \"{}\" reach {v}, half precision ends at 65504; use precision=fp32",
            t.name
        ));
    }
    *t = TensorProto {
        name: t.name.clone(),
        dims: t.dims.clone(),
        data_type: ElementType::F16.to_onnx(),
        raw_data: halves.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..Default::default()
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::net;

    #[test]
    fn ports_are_cast_or_narrowed() {
        let mut b = net();
        narrow(b.graph(), true).unwrap();
        let ops: Vec<_> = b.graph().node.iter().map(|n| n.op_type.clone()).collect();
        assert_eq!(ops.first().map(String::as_str), Some("Cast"));
        assert_eq!(ops.last().map(String::as_str), Some("Cast"));
        let half = ElementType::F16.to_onnx();
        assert!(b.graph().initializer.iter().all(|t| t.data_type == half));
        let mut b = net();
        narrow(b.graph(), false).unwrap();
        assert!(b.graph().node.iter().all(|n| n.op_type != "Cast"));
        assert_eq!(
            crate::graph::inputs(b.graph())[0].element,
            Some(ElementType::F16)
        );
        assert_eq!(
            crate::graph::outputs(b.graph())[0].element,
            Some(ElementType::F16)
        );
    }

    #[test]
    fn weights_beyond_the_range_are_named() {
        let mut b = net();
        b.graph().initializer[0] = crate::rewrite::float_tensor("big", &[1], [70000.0].into_iter());
        let e = narrow(b.graph(), true).unwrap_err();
        assert!(e.contains("big") && e.contains("70000"), "{e}");
    }
}
