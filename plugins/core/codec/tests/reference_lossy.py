#!/usr/bin/env python3
"""A second decoder of the profiles intra, inter and vq and of the layer on them, written from
docs/bitstream.md and nothing else.

    reference_lossy.py MODEL.gnm tests/golden/vq.gnvc...

Prints the SHA-256 of the frames of each stream, with their layer where they have one. What the profiles
have in common with the lossless one comes from reference_decoder.py.
"""

import hashlib
import struct
import sys
import zlib

from reference_decoder import Entropy, decode_slice, moved, read_field, slices_of, units, whole
from reference_networks import Networks, packed, read_model

SHIFTS = (1, 1)


def read_copies(d, rows, columns):
    """The macroblocks, (row, column), that are copied."""
    kinds, found, at, copied = (d.choice(), d.choice()), set(), 0, False
    while at < rows * columns:
        v = d.signed(kinds[copied])
        run = (2 * v if v >= 0 else -2 * v - 1) + (copied or at > 0)
        assert at + run <= rows * columns
        if copied:
            found |= {divmod(i, columns) for i in range(at, at + run)}
        at, copied = at + run, not copied
    return found


def lossy_slice(data, piece, nets, reference, copies):
    """The rows of each plane."""
    top, bottom, parts = piece
    nothing = not data and reference and copies
    d, width, p = Entropy(b"\0\0\1\0" * 4 if nothing else data), parts[0][2], None
    rows, columns = -(-(bottom - top) // 16), -(-width // 16)
    copied = set()
    if reference:
        if nothing:
            still = {(x, y): (0, 0) for x in range(2 * columns) for y in range(2 * rows)}
            field, copied = (still, set()), {(r, c) for r in range(rows) for c in range(columns)}
        else:
            field = read_field(d, width, bottom - top)
            copied = read_copies(d, rows, columns) if copies else copied
        samples = [moved(field, reference, n, part, SHIFTS, top, 8) for n, part in enumerate(parts)]
        p = packed([[[f(x, y) for x in range(w)] for y in range(b - a)]
                    for f, (a, b, w) in zip(samples, parts)], rows, columns)
    y = nets.latents(d, rows, columns, copied)
    d.finish()
    found = nets.synthesis(y, p, rows, columns)
    for r, c in copied:
        for at in (2 * r * 2 * columns + 2 * c + i for i in (0, 1, 2 * columns, 2 * columns + 1)):
            found[at] = [v + 1024 >> 3 for v in p[at]]

    def plane(first, side, a, b, w):
        of = lambda y, x: found[y // side * 2 * columns + x // side][first + y % side * side + x % side]
        return [[of(y, x) for x in range(w)] for y in range(b - a)]

    return [plane(first, side, *part) for (first, side), part in zip(((0, 8), (64, 4), (80, 4)), parts)]


def decode(tensors, model, path):
    raw = open(path, "rb").read()
    head, profile = raw[:64], raw[5]
    assert head[:5] == b"GNVC\1" and profile in (0, 1, 3) and head[28:60] == model
    assert zlib.crc32(head[:60]) == struct.unpack_from("<I", head, 60)[0] and head[7] <= 3
    pieces = slices_of(*struct.unpack_from("<HH", head, 8), SHIFTS, 3)
    # The lossy pictures, and those with their layer.
    known, full, networks, digest = {}, {}, {}, hashlib.sha256()
    for kind, level, number, distances, crc, slices, layer in units(raw):
        assert len(slices) == len(pieces) and not distances[1] and (distances[0] != 0) == (kind != 0)
        kind = "inter" if kind else "intra"
        if (kind, level) not in networks:
            networks[kind, level] = Networks(tensors, kind, level, profile == 3)
        nets = networks[kind, level]
        reference = known[number - distances[0]] if distances[0] else None
        parts = [lossy_slice(data, piece, nets, reference, head[7] & 2) for data, piece in zip(slices, pieces)]
        picture = known[number] = [sum(rows, []) for rows in zip(*parts)]
        name = f"frame {number}"
        shown = whole(picture, 8, crc, name)
        if layer:
            assert head[7] & 1
            near, refers, crc, slices = layer
            of_layer = [full[number - distances[0]]] if refers else []
            parts = [decode_slice(data, piece, SHIFTS, 8, near, of_layer, lossy)
                     for data, piece, lossy in zip(slices, pieces, parts)]
            picture = [sum(rows, []) for rows in zip(*parts)]
            shown = whole(picture, 8, crc, f"{name} with its layer")
        full[number] = picture
        digest.update(shown)
    return digest.hexdigest()


if __name__ == "__main__":
    found = read_model(sys.argv[1])
    for name in sys.argv[2:]:
        print(name, decode(*found, name))
