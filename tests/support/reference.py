"""The plain run that nnupscale is held against: one whole image, Python, ONNX Runtime.

Written without a look at the element's code: divide by 255, run, multiply, round.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper


def session(model: pathlib.Path | bytes, threads: int = 2, spin: bool = True) -> ort.InferenceSession:
    """A CPU session with ONNX Runtime's defaults; without `spin`, idle threads sleep."""
    options = ort.SessionOptions()
    if not spin:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def to_tensor(image: np.ndarray, multiple: int = 1) -> np.ndarray:
    """u8 (H, W) or (H, W, C) to NCHW in 0..1, edges repeated up to a multiple."""
    planes = image[..., None] if image.ndim == 2 else image
    bottom, right = (-planes.shape[0]) % multiple, (-planes.shape[1]) % multiple
    planes = np.pad(planes, ((0, bottom), (0, right), (0, 0)), mode="edge")
    return np.ascontiguousarray(planes.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def to_image(tensor: np.ndarray, height: int, width: int, grey: bool) -> np.ndarray:
    """NCHW in 0..1 to u8 of that size."""
    values = np.rint(np.clip(tensor[0].astype(np.float32), 0, 1) * 255).astype(np.uint8)
    image = values.transpose(1, 2, 0)[:height, :width]
    return image[..., 0] if grey else image


class Reference:
    """A model as a function from image to image."""

    def __init__(self, model: pathlib.Path, multiple: int = 1) -> None:
        self.session = session(model)
        self.multiple = multiple
        self.half = self.session.get_inputs()[0].type == "tensor(float16)"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        tensor = to_tensor(image, self.multiple)
        given = tensor.astype(np.float16) if self.half else tensor
        (out,) = self.session.run(None, {self.session.get_inputs()[0].name: given})
        scale = out.shape[2] // tensor.shape[2]
        return to_image(out, image.shape[0] * scale, image.shape[1] * scale, image.ndim == 2)


class SubpixelReference:
    """The sub-pixel CNN, which only takes 224 x 224, on a whole image of any size.

    Its convolutions alone are run, with free height and width; the pixel shuffle, whose
    sizes are written into the file, is done here.
    """

    def __init__(self, model: pathlib.Path) -> None:
        net = onnx.load(model)
        graph = net.graph
        shuffle = next(i for i, node in enumerate(graph.node) if node.op_type not in ("Conv", "Relu"))
        last = graph.node[shuffle - 1].output[0]
        del graph.node[shuffle:]
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, None))
        for dim in graph.input[0].type.tensor_type.shape.dim[2:]:
            dim.dim_param = dim.dim_param or f"free{id(dim)}"
        self.session = session(net.SerializeToString())

    def __call__(self, image: np.ndarray) -> np.ndarray:
        (out,) = self.session.run(None, {self.session.get_inputs()[0].name: to_tensor(image)})
        _, channels, height, width = out.shape
        scale = round(channels**0.5)
        shuffled = out.reshape(1, 1, scale, scale, height, width).transpose(0, 1, 4, 2, 5, 3)
        whole = shuffled.reshape(1, 1, height * scale, width * scale)
        return to_image(whole, *whole.shape[2:], grey=True)
