"""The loop that a person would write in PyTorch, with the same networks: frames of 8-bit RGB or luma
in host memory, to the GPU, through the network, back.

    torch_loop.py models/NAME.onnx... --out FILE

Adds one line of JSON for each model, size and precision to FILE. The networks are read from the ONNX
files (Conv, Relu, PRelu, Clip, Add, Pad, DepthToSpace, Resize), so they are the same weights.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

SIZES = ((540, 960), (720, 1280), (1080, 1920))
ROOT = Path(__file__).resolve().parent.parent.parent


class Network(torch.nn.Module):
    """An ONNX graph of the operations that super-resolution networks have."""

    def __init__(self, path):
        super().__init__()
        graph = onnx.load(path).graph
        self.nodes = list(graph.node)
        self.input = next(i.name for i in graph.input if i.name not in {t.name for t in graph.initializer})
        self.output = graph.output[0].name
        self.names = {}
        for i, tensor in enumerate(graph.initializer):
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self.register_buffer(f"t{i}", value)
            self.names[tensor.name] = f"t{i}"
        dims = [i for i in graph.input if i.name == self.input][0].type.tensor_type.shape.dim
        self.channels = dims[1].dim_value

    def forward(self, x):
        """`[N, C, H, W]` to the output."""
        values = {name: getattr(self, key) for name, key in self.names.items()}
        values[self.input] = x
        for node in self.nodes:
            at = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            inputs = [values[n] if n else None for n in node.input]
            values[node.output[0]] = self.run(node.op_type, inputs, at)
        return values[self.output]

    @staticmethod
    def run(kind, inputs, at):
        """One operation."""
        x = inputs[0] if inputs else None
        if kind == "Conv":
            pads = at.get("pads", [0, 0, 0, 0])
            bias = inputs[2] if len(inputs) > 2 else None
            strides, group = at.get("strides", [1, 1]), at.get("group", 1)
            if pads[0] == pads[2] and pads[1] == pads[3]:
                return F.conv2d(x, inputs[1], bias, strides, pads[:2], 1, group)
            x = F.pad(x, (pads[1], pads[3], pads[0], pads[2]))
            return F.conv2d(x, inputs[1], bias, strides, 0, 1, group)
        if kind == "Relu":
            return F.relu(x)
        if kind == "PRelu":
            return F.prelu(x, inputs[1].flatten().to(x.dtype))
        if kind == "Add":
            return x + inputs[1]
        if kind == "Mul":
            return x * inputs[1]
        if kind == "Clip":
            low, high = (float(v) if v is not None else None for v in (inputs + [None, None])[1:3])
            return x.clamp(low, high)
        if kind == "Pad":
            pads = inputs[1].tolist() if len(inputs) > 1 else at["pads"]
            mode = at.get("mode", b"constant").decode()
            mode = {"edge": "replicate"}.get(mode, mode)
            return F.pad(x, (pads[3], pads[7], pads[2], pads[6]), mode=mode)
        if kind == "DepthToSpace":
            if at.get("mode", b"DCR") != b"CRD":
                raise SystemExit("DepthToSpace in the order DCR is not written here")
            return F.pixel_shuffle(x, at["blocksize"])
        if kind == "Resize":
            factor = float(inputs[2][-1])
            return F.interpolate(x, scale_factor=factor, mode=at.get("mode", b"nearest").decode())
        if kind == "Constant":
            return torch.from_numpy(numpy_helper.to_array(at["value"]).copy())
        raise SystemExit(f"{kind} is not written here")


@torch.no_grad()
def measure(network, size, half, frames=100):
    """Frames a second of the loop, and of the network alone (all frames on the GPU)."""
    kind = torch.float16 if half else torch.float32
    network = network.cuda().to(kind)
    for name, value in network.named_buffers():
        if value.is_floating_point():
            setattr(network, name, value.to(kind))
    frame = np.random.default_rng(1).integers(0, 256, (*size, network.channels), np.uint8)

    def once():
        x = torch.from_numpy(frame).cuda().permute(2, 0, 1)[None].to(kind) / 255
        y = network(x).clamp(0, 1) * 255
        return y[0].permute(1, 2, 0).round().to(torch.uint8).cpu().numpy()

    x = torch.rand(1, network.channels, *size, device="cuda", dtype=kind)
    seconds = []
    for run in (once, lambda: network(x)):
        for _ in range(10):
            run()
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(frames):
            run()
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - begun) / frames)
    return seconds


def main():
    """Measures all models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    for name in args.models:
        path = Path(name) if Path(name).exists() else ROOT / "models" / name
        if not path.exists():
            # Shipped names stand for the model for compressed video.
            path = path.with_name(path.stem + "-compressed.onnx")
        for half in (False, True):
            for size in SIZES:
                loop, network = measure(Network(path), size, half)
                line = {
                    "torch": Path(name).stem,
                    "from": f"{size[1]}x{size[0]}",
                    "precision": "fp16" if half else "fp32",
                    "fps": round(1 / loop, 2),
                    "network_ms": round(network * 1e3, 4),
                }
                print(json.dumps(line), flush=True)
                with args.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
