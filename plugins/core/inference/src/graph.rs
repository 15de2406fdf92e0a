//! Reading an ONNX model and what it declares.

use std::{fs, path::Path};

use crate::{
    error::{Error, Result},
    onnx::{
        AttributeProto, GraphProto, Message, ModelProto, NodeProto, ValueInfoProto,
        tensor_shape_proto::dimension, type_proto,
    },
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

/// Reads and parses a model file.
///
/// # Errors
/// [`Error::Read`] if there is no such file, [`Error::Format`] if it is no ONNX model.
pub(crate) fn read(path: &Path) -> Result<ModelProto> {
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
    Ok(model)
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

pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

pub(crate) fn int_attribute(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |a| a.i)
}

/// `node`'s integers of that name, each at least 1, or `default` for both axes.
pub(crate) fn pair_attribute(node: &NodeProto, name: &str, default: i64) -> [f64; 2] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::net;

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

    /// A fuzzer for machines without one: damaged models must give an error or a graph, not a panic.
    #[test]
    fn damaged_models_never_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        let whole = net().bytes();
        let mut seed = 0x1234_5678_9abc_def1u64;
        let mut random = |n: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 20) as usize % n
        };
        let mut parsed = 0;
        for _ in 0..3000 {
            let mut bytes = whole.clone();
            for _ in 0..=random(6) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at] = random(256) as u8,
                    2 => {
                        bytes.remove(at);
                    }
                    _ => bytes.insert(at, random(256) as u8),
                }
            }
            fs::write(&path, &bytes).unwrap();
            let Ok(mut model) = read(&path) else {
                continue;
            };
            parsed += 1;
            let _ = crate::info::declared(&path, &model);
            let graph = model.graph.mut_or_insert_default();
            inputs(graph);
            crate::rewrite::rewrite_prelu(graph);
            crate::rewrite::strip_depth_to_space(graph);
            outputs(graph);
            crate::reach::reach(graph, 0.5);
            model.write_to_bytes().unwrap();
        }
        assert!(
            parsed > 100,
            "only {parsed} of 3000 could be parsed: the test tests nothing"
        );
    }
}
