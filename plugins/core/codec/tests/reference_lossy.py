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

from reference_decoder import (Entropy, OneState, decode_slice, load_tables, moved, read_field, slices_of,
                               units, whole)
from reference_networks import Networks, packed, read_model

SHIFTS = (1, 1)
MOTION = load_tables("motion.bin")[1]


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


def read_motion(d, rows, columns, level):
    """Vectors by 8x8 block and the set of intra macroblocks, and the macroblocks that are copied."""
    known, intra, symbols, copied = {}, set(), {}, set()
    bits = lambda n: abs(n).bit_length()

    def around(x, y, size):
        a, b, c = known.get((x - 1, y)), known.get((x, y - 1)), None
        if not (y % 2 and (x + size) % 2 == 0):
            c = known.get((x + size, y - 1))
        c = known.get((x - 1, y - 1)) if c is None else c
        there = [v for v in (a, b, c) if v is not None]
        if len(there) == 3:
            predicted = tuple(sorted(t)[1] for t in zip(a, b, c))
        else:
            predicted = there[0] if there else (0, 0)
        return a, b, predicted

    def vector(x, y, size, kind):
        a, b, p = around(x, y, size)
        spread = 7 if None in (a, b) else min(6, bits(abs(a[0] - b[0]) + abs(a[1] - b[1])))
        dx = d.signed(MOTION[100 + 8 * kind + spread])
        dy = d.signed(MOTION[124 + 5 * (8 * kind + spread) + min(4, bits(dx))])
        assert max(abs(p[0] + dx), abs(p[1] + dy)) <= 4095
        return p[0] + dx, p[1] + dy

    def k(place):
        return 1 + 2 * (symbols[place] > 1) + symbols[place] % 2 if place in symbols else 0

    for r in range(rows):
        for c in range(columns):
            s = d.symbol(MOTION[25 * (level >> 3) + 5 * k((r, c - 1)) + k((r - 1, c))])
            symbols[r, c] = s
            if s % 2:
                copied.add((r, c))
            x, y, mode = 2 * c, 2 * r, s // 2
            a, b, predicted = around(x, y, 2)
            if mode in (2, 6, 7):
                w, h, kind = {2: (1, 1, 1), 6: (2, 1, 2), 7: (1, 2, 2)}[mode]
                for dy in range(0, 2, h):
                    for dx in range(0, 2, w):
                        v = vector(x + dx, y + dy, w, kind)
                        known.update({(x + dx + i, y + dy + j): v for i in range(w) for j in range(h)})
                continue
            v = vector(x, y, 2, 0) if mode == 1 else (predicted, None, None, a, b, (0, 0))[mode]
            assert v is not None
            if mode == 5:
                intra.add((c, r))
            known.update({(x + i, y + j): v for i in range(2) for j in range(2)})
    return (known, intra), copied


def lossy_slice(data, piece, nets, reference, copies, motion_level):
    """The rows of each plane. motion_level: that of the frame in a compact stream, else None."""
    top, bottom, parts = piece
    nothing = not data and reference and copies
    width, p, compact = parts[0][2], None, motion_level is not None
    if compact and len(data) % 2:
        d = OneState(data)
    else:
        d = Entropy(b"\0\0\1\0" * 4 if nothing else data)
    rows, columns = -(-(bottom - top) // 16), -(-width // 16)
    copied = set()
    if reference:
        if nothing:
            still = {(x, y): (0, 0) for x in range(2 * columns) for y in range(2 * rows)}
            field, copied = (still, set()), {(r, c) for r in range(rows) for c in range(columns)}
        elif compact:
            field, copied = read_motion(d, rows, columns, motion_level)
            assert copies or not copied
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
    assert zlib.crc32(head[:60]) == struct.unpack_from("<I", head, 60)[0] and head[7] <= 7
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
        parts = [lossy_slice(data, piece, nets, reference, head[7] & 2, level if head[7] & 4 else None)
                 for data, piece in zip(slices, pieces)]
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
