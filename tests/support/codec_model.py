"""The codec's model file and its networks as ONNX graphs, written from docs/bitstream.md alone."""

import struct
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

LEVELS = 32
HYPER = 32
LIMIT = 2047


def read(data: bytes) -> tuple[dict[str, np.ndarray], bytes]:
    """Tensors of both sections, and the bytes of the decoder's section."""
    assert data[:4] == b"GNM1"
    sizes = struct.unpack_from("<II", data, 4)
    assert struct.unpack("<I", data[-4:])[0] == zlib.crc32(data[:-4])
    tensors, at = {}, 12
    for size in sizes:
        end = at + size
        (count,) = struct.unpack_from("<H", data, at)
        at += 2
        for _ in range(count):
            length = data[at]
            name = data[at + 1 : at + 1 + length].decode()
            at += 1 + length
            kind, dimensions = data[at], data[at + 1]
            shape = struct.unpack_from(f"<{dimensions}I", data, at + 2)
            at += 2 + 4 * dimensions
            dtype = np.dtype(("<u1", "<i2", "<i4")[kind])
            n = int(np.prod(shape))
            tensors[name] = np.frombuffer(data, dtype, n, at).reshape(shape).astype(np.int64)
            at += n * dtype.itemsize
        assert at == end
    return tensors, data[12 : 12 + sizes[0]]


class Graph:
    """Builds a graph of exact integers in single precision."""

    def __init__(self, tensors: dict[str, np.ndarray], kind: str, level: int):
        self.tensors, self.kind, self.level = tensors, kind, level
        self.nodes, self.constants, self.count = [], [], 0

    def node(self, op: str, *inputs: str, **attributes) -> str:
        self.count += 1
        out = f"t{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def constant(self, value) -> str:
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def number(self, value) -> str:
        return self.constant(np.asarray(value, np.float32))

    def layer(self, name: str):
        name = f"{self.kind}.{name}"
        w, b, s = (self.tensors[f"{name}.{part}"] for part in "wbs")
        b = b[self.level] if b.ndim == 2 else b
        # What makes single precision exact, in any order of summation.
        sums = np.abs(w).sum(0 if w.shape[0] == 9 and w.shape[1] == b.size != 9 else 1)
        assert (sums * LIMIT + np.abs(b) < 2**24).all(), name
        return w, b, float(2.0 ** -int(s[0]))

    def rounded(self, sums: str, scale: float, low: int) -> str:
        whole = self.node("Floor", self.node("Mul", sums, self.number(scale)))
        return self.node("Clip", whole, self.number(low), self.number(LIMIT))

    def dense(self, name: str, x: str, low: int = -LIMIT) -> str:
        w, b, scale = self.layer(name)
        sums = self.node("Add", self.node("MatMul", x, self.number(w.T)), self.number(b))
        return self.rounded(sums, scale, low)

    def relu(self, name: str, x: str) -> str:
        return self.dense(name, x, 0)

    def depthwise(self, name: str, x: str) -> str:
        w, b, scale = self.layer(name)
        channels = w.shape[1]
        kernel = self.number(w.T.reshape(channels, 1, 3, 3))
        planes = self.node("Transpose", x, perm=[0, 3, 1, 2])
        sums = self.node("Conv", planes, kernel, self.number(b), group=channels, pads=[1, 1, 1, 1])
        return self.rounded(self.node("Transpose", sums, perm=[0, 2, 3, 1]), scale, -LIMIT)

    def shuffle(self, x: str, rows: int, columns: int, channels: int) -> str:
        shape = self.constant(np.array([1, rows, columns, 2, 2, channels], np.int64))
        apart = self.node("Transpose", self.node("Reshape", x, shape), perm=[0, 1, 3, 2, 4, 5])
        return self.node("Reshape", apart, self.constant(np.array([1, 2 * rows, 2 * columns, channels], np.int64)))

    def crop(self, x: str, rows: int, columns: int) -> str:
        of = [np.array(v, np.int64) for v in ([0, 0], [rows, columns], [1, 2])]
        return self.node("Slice", x, *map(self.constant, of))

    def limited(self, x: str) -> str:
        return self.node("Clip", x, self.number(-LIMIT), self.number(LIMIT))

    def finish(self, inputs: dict[str, tuple], *outputs: str) -> bytes:
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "codec",
            [info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [info(name, TensorProto.FLOAT, [None] * 4) for name in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()


class Networks:
    """The decoder's networks of a kind and level, run by ONNX Runtime with some options."""

    def __init__(self, tensors, kind: str, level: int, options: onnxruntime.SessionOptions):
        self.tensors, self.kind, self.level, self.options = tensors, kind, level, options
        self.groups = []
        while f"{kind}.hs.{len(self.groups)}.scale.b" in tensors:
            self.groups.append(tensors[f"{kind}.hs.{len(self.groups)}.scale.b"].size)
        self.hidden = tensors[f"{kind}.hs.d1.b"].size
        self.sessions = {}

    def table(self, name: str) -> np.ndarray:
        return self.tensors[f"{self.kind}.{name}"][self.level]

    def run(self, key, build, **inputs: np.ndarray) -> list[np.ndarray]:
        if key not in self.sessions:
            graph = Graph(self.tensors, self.kind, self.level)
            shapes = {name: value.shape for name, value in inputs.items()}
            data = graph.finish(shapes, *build(graph))
            self.sessions[key] = onnxruntime.InferenceSession(data, self.options, ["CPUExecutionProvider"])
        feed = {name: value.astype(np.float32) for name, value in inputs.items()}
        return [out.astype(np.int64) for out in self.sessions[key].run(None, feed)]

    def begin(self, z: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Hyper-latents `[1, 1, columns / 4, 32]` to features of a band."""
        h, width = self.hidden, z.shape[2]

        def build(g: Graph):
            x = g.shuffle(g.relu("hs.up1", "x"), 1, width, h)
            x = g.relu("hs.d1", g.depthwise("hs.dw1", x))
            x = g.crop(g.shuffle(g.relu("hs.up2", x), 2, 2 * width, h), rows, columns)
            return [g.relu("hs.d2", g.depthwise("hs.dw2", x))]

        return self.run(("begin", rows), build, x=np.clip(z * 64, -LIMIT, LIMIT))[0]

    def spread(self, group: int, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices and means of a group."""
        def build(g: Graph):
            return [g.dense(f"hs.{group}.scale", "f"), g.dense(f"hs.{group}.mean", "f")]

        scale, mean = self.run(("spread", group, f.shape[1]), build, f=f)
        part = slice(sum(self.groups[:group]), sum(self.groups[: group + 1]))
        index = np.clip((scale + self.table("shift")[part] + 8) >> 4, 0, 47)
        return index, np.clip((mean * self.table("inv")[part] + 2048) >> 12, -16383, 16383)

    def learn(self, group: int, f: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Features for the next group."""
        if group + 1 == len(self.groups):
            return f

        def build(g: Graph):
            around = g.depthwise(f"hs.{group}.dw", "a")
            return [g.relu(f"hs.{group}.mix", g.node("Concat", "f", "a", around, axis=3))]

        return self.run(("learn", group, f.shape[1]), build, f=f, a=np.minimum(np.abs(q) * 128, LIMIT))[0]

    def synthesis(self, q: np.ndarray, p: np.ndarray | None) -> np.ndarray:
        """Quantised latents `[1, rows, columns, latents]` (and a prediction) to samples `[1, 2 rows, 2 columns, 96]`."""
        _, rows, columns, _ = q.shape

        def build(g: Graph):
            r = g.shuffle(g.dense("gs.lin", "y"), rows, columns, 96)
            f = g.dense("gs.in", r if p is None else g.node("Concat", r, "p", axis=3))
            block = 0
            while f"{self.kind}.gs.{block}.dw.w" in self.tensors:
                t = g.relu(f"gs.{block}.up", g.depthwise(f"gs.{block}.dw", f))
                f = g.limited(g.node("Add", f, g.dense(f"gs.{block}.down", t)))
                block += 1
            x = g.node("Add", r, g.dense("gs.out", f))
            return [x if p is None else g.node("Add", x, "p")]

        y = np.clip((q * self.table("step") + 8) >> 4, -LIMIT, LIMIT)
        x = self.run("synthesis", build, y=y, **({} if p is None else {"p": p}))[0]
        return np.clip((x + 1024 + 4) >> 3, 0, 255)
