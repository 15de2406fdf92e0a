"""How far, in input pixels, an output pixel of an ONNX graph can look."""

import numpy as np
from onnx import helper, numpy_helper

SPATIAL = (2, 3)


def receptive_radius(model):
    """`(radius, exact)`: radius in input pixels, and whether tiles of it reproduce the whole.

    Follows convolutions, pools, shuffles and fixed resizes of an NCHW graph. Where the
    graph resizes to a computed size, pools globally or attends over windows, the result
    depends on the frame's size: then `exact` is false and the radius only a lower bound.
    """
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    reach = {model.graph.input[0].name: (0.0, 1.0)}
    exact = True
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        known = [reach[name] for name in node.input if name in reach]
        if not known or node.op_type == "Shape":
            continue
        radius, pixel = max(r for r, _ in known), known[0][1]
        if node.op_type in ("Conv", "MaxPool", "AveragePool"):
            if node.op_type == "Conv":
                sides = attributes.get("kernel_shape") or constants[node.input[1]].shape[2:]
            else:
                sides = attributes["kernel_shape"]
            stretch = attributes.get("dilations", [1, 1])[0]
            stride = attributes.get("strides", [1, 1])[0]
            span = (max(sides) - 1) * stretch
            # An even kernel at a stride of its surplus is symmetric about the strided pixel.
            radius += pixel * (span - (stride - 1) if span % 2 else span) / 2
            exact &= stride <= 2
            pixel *= stride
        elif node.op_type == "DepthToSpace":
            pixel /= attributes["blocksize"]
        elif node.op_type == "SpaceToDepth":
            pixel *= attributes["blocksize"]
        elif node.op_type == "Resize":
            factor = constants.get(node.input[2]) if len(node.input) > 2 else None
            nearest = attributes.get("mode", b"nearest") == b"nearest"
            radius += 0 if nearest else 2 * pixel
            if factor is not None and factor.size == 4:
                pixel /= float(factor[2])
            else:
                exact, pixel = False, 1.0
        elif node.op_type.startswith("Reduce") or node.op_type == "GlobalAveragePool":
            axes = attributes.get("axes")
            if axes is None and len(node.input) > 1:
                axes = constants.get(node.input[1], np.array(SPATIAL)).tolist()
            if axes is None or any(axis in SPATIAL for axis in axes):
                exact = False
        elif node.op_type in ("MatMul", "Softmax", "Einsum"):
            exact = False
        for name in node.output:
            reach[name] = (radius, pixel)
    return int(np.ceil(reach[model.graph.output[0].name][0])), exact
