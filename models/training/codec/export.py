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

from checkpoints import WORK, load_average
from integers import UNIT, compensated, fits, picture_covariance, shift_of
from nets import SCALES, TIERS

TIER_NUMBERS = {"small": 1, "medium": 2, "large": 3}
KINDS = {np.dtype(np.uint8): 0, np.dtype(np.int16): 1, np.dtype(np.int32): 2}


def layer(weight, bias, inputs=1, half=True):
    """Integer weights, biases (with the rounding half, if wanted) and shift.

    `inputs` is the axis of the weights that a sum runs over; `bias` may have a row a level.
    """
    weight, bias = weight.double().numpy(), bias.double().numpy()
    shift = shift_of(weight, bias, inputs)
    scale = 2.0**shift
    biases = np.rint(bias * UNIT * scale) + half * 2 ** (shift - 1)
    return np.rint(weight * scale).astype(np.int16), biases.astype(np.int32), np.array([shift], np.uint8)


def put(tensors, name, weight, bias, inputs=1, half=True):
    """Adds the three tensors of a layer."""
    for part, array in zip("wbs", layer(weight, bias, inputs, half)):
        tensors[f"{name}.{part}"] = array


def of_pictures(tensors, name, module):
    """The linear layer that samples go into. It is rounded so that errors do not add up where all
    samples are alike; what it computes is not rounded, as its sums go on."""
    weight, bias = module.weight.double().numpy(), module.bias.double().numpy()
    shift, covariance = shift_of(weight, bias), picture_covariance()
    while not fits(whole := compensated(weight, 2.0**shift, covariance), bias, shift):
        shift -= 1
    tensors[f"{name}.w"] = whole.astype(np.int16)
    tensors[f"{name}.b"] = np.rint(bias * UNIT * 2.0**shift).astype(np.int32)
    tensors[f"{name}.s"] = np.array([shift], np.uint8)


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
    index = net.z_indices().double().numpy()
    decoder[f"{kind}.z"] = np.rint(index).clip(0, SCALES - 1).astype(np.uint8)
    linear(decoder, f"{kind}.gs.lin", net.gs_lin)
    linear(decoder, f"{kind}.gs.in", net.gs_in, net.gs_level)
    blocks(decoder, f"{kind}.gs", net.gs_trunk)
    linear(decoder, f"{kind}.gs.out", net.gs_out)
    decoder[f"check.{kind}"] = np.zeros(32, np.uint8)
    # The sums of these two are added before they are rounded.
    of_pictures(encoder, f"{kind}.ga.lin", net.ga_lin)
    put(encoder, f"{kind}.ga.out", net.ga_out.weight, net.ga_out.bias, half=False)
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


def export(tier, work, out):
    """Writes the model file of a tier from its checkpoints; a line about it."""
    decoder, encoder = {"tier": np.array([TIER_NUMBERS[tier]], np.uint8)}, {}
    for kind in ("intra", "inter"):
        path = Path(work) / f"codec-{tier}-{kind}.pt"
        if not path.exists():
            print(f"{path.name} is missing: no {kind} networks")
            continue
        for tensors, more in zip((decoder, encoder), sections(load_average(path), kind)):
            tensors |= more
        path = Path(work) / f"codec-{tier}-{kind}-vq.npz"
        if path.exists():
            with np.load(path) as arrays:
                decoder |= {f"{kind}.vq.{name}": arrays[name] for name in arrays.files}
        else:
            print(f"{path.name} is missing: no codebooks for {kind} frames")
    parts = [section(decoder), section(encoder)]
    data = b"GNM1" + struct.pack("<II", *map(len, parts)) + b"".join(parts)
    data += struct.pack("<I", binascii.crc32(data))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_bytes(data)
    part.rename(out)
    return f"{out}: {len(data)} bytes, {len(decoder)} + {len(encoder)} tensors"


def main():
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the checkpoints")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    print(export(args.tier, args.work, args.out))


if __name__ == "__main__":
    main()
