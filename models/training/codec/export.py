"""Writes a model file (.gnm) of integers from the trained networks.

    python codec/export.py small --out ../neural/small.gnm

Every layer gets the finest power of two for which no sum can leave 24 bits: then the integers
are the same in any order of summation, in 32-bit integers as in single precision. The format
is specified in docs/bitstream.md. `cargo run -p gstneural-codec --example seal_model FILE`
puts the conformance vectors in. Codebooks (`codebooks.py`) go in if they are there.
"""

import argparse
import binascii
import struct
from pathlib import Path

import numpy as np
import torch

from nets import SCALES, TIERS, UNIT, Codec
from train import WORK

TIER_NUMBERS = {"small": 1, "medium": 2, "large": 3}
TOP = 2**24 - 1
KINDS = {np.dtype(np.uint8): 0, np.dtype(np.int16): 1, np.dtype(np.int32): 2}


def layer(weight, bias, inputs=1, half=True):
    """Integer weights, biases (with the rounding half, if wanted) and shift.

    `inputs` is the axis of the weights that a sum runs over; `bias` may have a row a level.
    """
    weight, bias = weight.double().numpy(), bias.double().numpy() * UNIT
    biases = np.abs(np.atleast_2d(bias)).max(axis=0)
    for shift in range(15, 0, -1):
        scale = 2.0**shift
        whole = np.rint(weight * scale)
        reach = np.abs(whole).sum(axis=inputs) * 2047 + (biases + 1) * scale
        if np.abs(whole).max() <= 8191 and reach.max() <= TOP:
            b = np.rint(bias * scale) + half * 2 ** (shift - 1)
            return whole.astype(np.int16), b.astype(np.int32), np.array([shift], np.uint8)
    raise SystemExit("a layer's weights are too large for exact integers: train at a smaller rate")


def put(tensors, name, weight, bias, inputs=1, half=True):
    """Adds the three tensors of a layer."""
    for part, array in zip("wbs", layer(weight, bias, inputs, half)):
        tensors[f"{name}.{part}"] = array


def linear(tensors, name, module, level=None):
    """A dense layer, with a bias for each level if there is a table."""
    bias = module.bias if level is None else module.bias[None] + level.table()
    put(tensors, name, module.weight, bias)


def blocks(tensors, name, modules):
    """A trunk."""
    for n, block in enumerate(modules):
        put(tensors, f"{name}.{n}.dw", block.dw.weight, block.dw.bias, inputs=0)
        linear(tensors, f"{name}.{n}.up", block.up)
        linear(tensors, f"{name}.{n}.down", block.down)


@torch.no_grad()
def sections(net, kind):
    """Decoder and encoder tensors of one kind of frame."""
    decoder, encoder = {}, {}
    for part in ("up1", "d1", "up2", "d2"):
        linear(decoder, f"{kind}.hs.{part}", getattr(net, f"hs_{part}"))
    for part in ("dw1", "dw2"):
        module = getattr(net, f"hs_{part}")
        put(decoder, f"{kind}.hs.{part}", module.weight, module.bias, inputs=0)
    for n, head in enumerate(net.hs_heads):
        linear(decoder, f"{kind}.hs.{n}.scale", head.scale)
        linear(decoder, f"{kind}.hs.{n}.mean", head.mean)
    for n, context in enumerate(net.hs_contexts):
        put(decoder, f"{kind}.hs.{n}.dw", context.dw.weight, context.dw.bias, inputs=0)
        linear(decoder, f"{kind}.hs.{n}.mix", context.mix, context.level)
    steps = net.steps().double().numpy()
    decoder[f"{kind}.step"] = np.rint(steps * 16).clip(1, 2**15 - 1).astype(np.int32)
    decoder[f"{kind}.inv"] = np.rint(8 * 4096 / steps).clip(1, 2**19).astype(np.int32)
    decoder[f"{kind}.shift"] = np.rint(net.shifts().double().numpy() * 16).clip(-2047, 2047).astype(np.int16)
    index = 20 + net.z_scale.table().double().numpy()
    decoder[f"{kind}.z"] = np.rint(index).clip(0, SCALES - 1).astype(np.uint8)
    linear(decoder, f"{kind}.gs.lin", net.gs_lin)
    linear(decoder, f"{kind}.gs.in", net.gs_in, net.gs_level)
    blocks(decoder, f"{kind}.gs", net.gs_trunk)
    linear(decoder, f"{kind}.gs.out", net.gs_out)
    decoder[f"check.{kind}"] = np.zeros(32, np.uint8)
    # The sums of these two are added before they are rounded.
    for part, module in (("lin", net.ga_lin), ("out", net.ga_out)):
        put(encoder, f"{kind}.ga.{part}", module.weight, module.bias, half=False)
    linear(encoder, f"{kind}.ga.in", net.ga_in, net.ga_level)
    blocks(encoder, f"{kind}.ga", net.ga_trunk)
    linear(encoder, f"{kind}.ha.d0", net.ha_d0)
    put(encoder, f"{kind}.ha.dw1", net.ha_dw1.weight, net.ha_dw1.bias, inputs=0)
    linear(encoder, f"{kind}.ha.d1", net.ha_d1)
    linear(encoder, f"{kind}.ha.down1", net.ha_down1)
    linear(encoder, f"{kind}.ha.down2", net.ha_down2, net.ha_level)
    return decoder, encoder


def section(tensors):
    """The bytes of a section."""
    out = bytearray(struct.pack("<H", len(tensors)))
    for name, array in tensors.items():
        out += struct.pack("<B", len(name)) + name.encode()
        out += struct.pack("<BB", KINDS[array.dtype], array.ndim)
        out += b"".join(struct.pack("<I", side) for side in array.shape)
        out += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return bytes(out)


def main():
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the checkpoints")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    decoder, encoder = {"tier": np.array([TIER_NUMBERS[args.tier]], np.uint8)}, {}
    for kind in ("intra", "inter"):
        path = args.work / f"codec-{args.tier}-{kind}.pt"
        if not path.exists():
            print(f"{path.name} is missing: no {kind} networks")
            continue
        net = Codec(TIERS[args.tier], kind == "inter")
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
        for tensors, more in zip((decoder, encoder), sections(net, kind)):
            tensors |= more
        path = args.work / f"codec-{args.tier}-{kind}-vq.npz"
        if path.exists():
            with np.load(path) as arrays:
                decoder |= {f"{kind}.vq.{name}": arrays[name] for name in arrays.files}
        else:
            print(f"{path.name} is missing: no codebooks for {kind} frames")
    parts = [section(decoder), section(encoder)]
    data = b"GNM1" + struct.pack("<II", *map(len, parts)) + b"".join(parts)
    data += struct.pack("<I", binascii.crc32(data))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_suffix(".part")
    part.write_bytes(data)
    part.rename(args.out)
    print(f"{args.out}: {len(data)} bytes, {len(decoder)} + {len(encoder)} tensors")


if __name__ == "__main__":
    main()
