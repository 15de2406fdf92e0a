//! The receptive field of a network and the size of its activations.

use std::collections::HashMap;

use crate::{
    graph::{attribute, int_attribute, pair_attribute},
    onnx::{GraphProto, NodeProto, TensorProto},
};

/// What the shape of the graph says about tiling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reach {
    /// Input pixels on each side that an output pixel depends on.
    pub radius: usize,
    /// False if something looks at the whole image (attention, global pooling): tiles then differ
    /// from a whole frame, and are blended.
    pub local: bool,
    /// Input pixels that tiles must be aligned to, so that strides fall on the same pixels.
    pub stride: usize,
    /// Bytes that live at once for each input pixel, roughly.
    pub bytes_per_pixel: usize,
}

/// Bytes for each input and output channel of a convolution: f32, three times over. Measured as the
/// resident memory of 16-channel networks at 1920x1080 (410 bytes for 32 channels).
const BYTES_PER_CHANNEL: f64 = 12.0;

#[derive(Debug, Clone, Copy)]
struct Node {
    radius: f64,
    /// Input pixels for each pixel of this tensor.
    jump: f64,
}

/// Follows the receptive field and the size of the activations through the graph.
///
/// `out_jump` is the number of input pixels for each pixel of the output, as known from a trial.
pub(crate) fn reach(graph: &GraphProto, out_jump: f64) -> Reach {
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
        stride: 1,
        bytes_per_pixel: 16,
    };
    let mut radius = 0f64;
    let mut stride = 1f64;
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
                let bytes = channels as f64 * BYTES_PER_CHANNEL / (v.jump * v.jump);
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
                // A smaller map that is brought back to the input's size: where its samples fall
                // depends on that size, so that a tile is never quite like the whole.
                result.local &= v.jump <= 1.0;
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
        stride = stride.max(v.jump);
        for o in &n.output {
            at.insert(o, v);
        }
    }
    // An unshuffle written as Reshape and Transpose hides its stride, but not from the output's.
    let counted = graph
        .output
        .first()
        .and_then(|o| at.get(o.name.as_str()))
        .map_or(1.0, |v| v.jump);
    let hidden = if reshaped {
        (out_jump / counted).clamp(1.0, 64.0)
    } else {
        1.0
    };
    result.radius = (radius * hidden).ceil().min(1e6) as usize;
    result.stride = (stride * hidden).ceil().clamp(1.0, 1e3) as usize;
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
mod tests {
    use super::*;
    use crate::testing::{Builder, net};

    #[test]
    fn the_reach_is_the_sum_of_the_kernels() {
        let mut b = net();
        let r = reach(b.graph(), 0.5);
        assert_eq!((r.radius, r.local), (3, true));
        let mut b = Builder::new(&[1, 1, 8, 8], &[1, 1, 16, 16])
            .conv("input", "a", [16, 1, 4, 4], 2, 0.1)
            .conv("a", "b", [16, 16, 3, 3], 1, 0.1)
            .shuffle("b", "output", 4, true);
        let r = reach(b.graph(), 0.5);
        assert_eq!((r.radius, r.stride), (4, 2));
    }
}
