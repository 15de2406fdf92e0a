#!/usr/bin/env python3
"""A second decoder of the profile vq, written from docs/bitstream.md and nothing else.

    reference_vq.py MODEL.gnm tests/golden/vq.gnvc

Prints the SHA-256 of the frames of the stream. Plain Python, for networks as small as those of the
golden stream; what the profiles have in common comes from reference_decoder.py.
"""

import hashlib
import struct
import sys
import zlib

from reference_decoder import TABLES, Entropy, clip, compensate, read_field, table

LIMIT = 2047
KINDS = {0: ("B", 1), 1: ("h", 2), 2: ("i", 4)}


def read_model(path):
    """Tensors of the decoder section as (shape, flat values), and its SHA-256."""
    raw = open(path, "rb").read()
    assert raw[:4] == b"GNM1" and zlib.crc32(raw[:-4]) == struct.unpack("<I", raw[-4:])[0]
    section = raw[12:12 + struct.unpack_from("<I", raw, 4)[0]]
    tensors, at = {}, 2
    for _ in range(struct.unpack_from("<H", section)[0]):
        end = at + 1 + section[at]
        name, kind, dimensions = section[at + 1:end].decode(), section[end], section[end + 1]
        shape = struct.unpack_from(f"<{dimensions}I", section, end + 2)
        at, n = end + 2 + 4 * dimensions, 1
        for side in shape:
            n *= side
        code, size = KINDS[kind]
        tensors[name] = shape, struct.unpack_from(f"<{n}{code}", section, at)
        at += n * size
    assert at == len(section)
    return tensors, hashlib.sha256(section).digest()


def signed(v):
    return clip(v, -LIMIT, LIMIT)


class Networks:
    """The synthesis and the codebooks of a kind at a level."""

    def __init__(self, tensors, kind, level):
        self.tensors, self.kind, self.level = tensors, kind, level
        self.steps = self.row("step", level)
        self.tables = {part: [table(f) for f in self.rows(f"vq.{part}")] for part in ("class", "index")}

    def get(self, name):
        return self.tensors[f"{self.kind}.{name}"]

    def rows(self, name):
        """The values by the last axis."""
        shape, values = self.get(name)
        return [values[i:i + shape[-1]] for i in range(0, len(values), shape[-1])]

    def row(self, name, i):
        return self.rows(name)[i]

    def layer(self, name):
        shape, bias = self.get(f"{name}.b")
        bias = self.row(f"{name}.b", self.level) if len(shape) == 2 else bias
        return self.rows(f"{name}.w"), bias, self.get(f"{name}.s")[1][0]

    def dense(self, name, x, low=-LIMIT):
        weights, bias, shift = self.layer(name)
        return [[clip(b + sum(map(int.__mul__, w, v)) >> shift, low, LIMIT) for w, b in zip(weights, bias)]
                for v in x]

    def depthwise(self, name, x, rows, columns):
        weights, bias, shift = self.layer(name)
        out = []
        for r in range(rows):
            for c in range(columns):
                sums = list(bias)
                for t, w in enumerate(weights):
                    y, z = r + t // 3 - 1, c + t % 3 - 1
                    if 0 <= y < rows and 0 <= z < columns:
                        sums = [s + a * b for s, a, b in zip(sums, w, x[y * columns + z])]
                out.append([signed(s >> shift) for s in sums])
        return out

    def latents(self, d, rows, columns):
        """The latents of a slice by position."""
        (_, stages, words, size), _ = self.get("vq.books")
        books, family = self.rows("vq.books"), self.get("vq.family")[1]
        parts, predicted = len(family), self.get("vq.predict")[0][2]
        y, classes = {}, {}
        for r in range(rows):
            for c in range(columns):
                left, above = y.get((r, c - 1)), y.get((r - 1, c))
                m = [0] * (parts * size)
                if left or above:
                    case = 2 if left and above else 1 if above else 0
                    x = []
                    for source in (left, above, y.get((r - 1, c - 1))):
                        x += source[:predicted] if source else [0] * predicted
                    first = ((self.level >> 3) * 3 + case) * predicted
                    for o in range(predicted):
                        w = self.row("vq.predict", first + o)
                        m[o] = sum(map(int.__mul__, w, x)) + 2048 >> 12
                k = lambda dr, dc, p: classes.get((r - dr, c - dc), {}).get(p, 0)
                own, out = classes.setdefault((r, c), {}), []
                for p in range(parts):
                    s = 2 * (k(0, 1, p) + k(1, 0, p)) + k(0, 1, p + 1) + k(1, 0, p + 1)
                    t = 2 * k(0, 0, p - 1) + k(0, 0, p - 2) + k(0, 0, p - 3)
                    context = 6 * min(5, s.bit_length()) + min(5, t.bit_length())
                    number = self.row("vq.table", self.level * parts + p)[context]
                    own[p] = d.symbol(self.tables["class"][number])
                    v = [0] * size
                    for n in range(own[p], 0, -1):
                        book = family[p] * stages + min(n, stages) - 1
                        i = d.symbol(self.tables["index"][2 * book + (n == own[p])])
                        word = books[book * words + i]
                        v = [a + b * 4 ** (n - min(n, stages)) for a, b in zip(v, word)]
                    for j, value in enumerate(v):
                        at = p * size + j
                        value = clip(value, -32767, 32767) * self.steps[at] + 256 >> 9
                        out.append(signed(m[at] + value))
                y[r, c] = out
        return [y[r, c] for r in range(rows) for c in range(columns)]

    def synthesis(self, y, p, rows, columns):
        """Samples by positions of 8x8, from latents and the prediction's positions (or None)."""
        r = [None] * (4 * len(y))
        for at, v in enumerate(self.dense("gs.lin", y)):
            for i in range(4):
                row, column = 2 * (at // columns) + i // 2, 2 * (at % columns) + i % 2
                r[row * 2 * columns + column] = v[96 * i:96 * i + 96]
        f = self.dense("gs.in", [a + b for a, b in zip(r, p)] if p else r)
        n = 0
        while f"{self.kind}.gs.{n}.dw.w" in self.tensors:
            t = self.depthwise(f"gs.{n}.dw", f, 2 * rows, 2 * columns)
            t = self.dense(f"gs.{n}.down", self.dense(f"gs.{n}.up", t, 0))
            f = [[signed(a + b) for a, b in zip(*v)] for v in zip(f, t)]
            n += 1
        out, p = self.dense("gs.out", f), p or [[0] * 96] * len(r)
        return [[clip(a + b + c + 1028 >> 3, 0, 255) for a, b, c in zip(*v)] for v in zip(p, r, out)]


def packed(planes, rows, columns):
    """Planes (rows of samples), continued at their ends, by positions of 8x8."""
    out = []
    for r in range(2 * rows):
        for c in range(2 * columns):
            position = []
            for plane, side in zip(planes, (8, 4, 4)):
                for i in range(side):
                    row = plane[min(r * side + i, len(plane) - 1)]
                    position += [8 * row[min(c * side + j, len(row) - 1)] - 1024 for j in range(side)]
            out.append(position)
    return out


def decode(model, path):
    tensors, model = read_model(model)
    raw = open(path, "rb").read()
    assert raw[5] == 3 and raw[28:60] == model
    width, height = struct.unpack_from("<HH", raw, 8)
    half = lambda n: n + 1 >> 1
    known, networks, digest, at = {}, {}, hashlib.sha256(), 64
    while at < len(raw):
        size = struct.unpack_from("<I", raw, at)[0]
        unit, at = raw[at + 4:at + 4 + size], at + 4 + size
        _, kind, level, flags, number, distance, _, count, crc = struct.unpack_from("<BBBBIbbHI", unit)
        kind = "inter" if kind else "intra"
        reference = known[number - distance] if distance else None
        nets = networks.setdefault((kind, level), Networks(tensors, kind, level))
        picture, start = [[], [], []], 20 + 8 * count
        for i in range(count):
            length = struct.unpack_from("<I", unit, 16 + 8 * i)[0]
            d, start = Entropy(unit[start:start + length]), start + length
            top, last = 64 * i, i + 1 == count
            bottom = height if last else top + 64
            # First and last row and the width of each plane.
            parts = [(top, bottom, width)] + [(top >> 1, half(height) if last else bottom >> 1, half(width))] * 2
            rows, columns = -(-(bottom - top) // 16), -(-width // 16)
            p = None
            if reference:
                vectors, intra = read_field(d, width, bottom - top)

                def sample(n, x, y):
                    s = 1 if n else 0
                    block = (x << s) // 8, (y << s) // 8
                    if (block[0] // 2, block[1] // 2) in intra:
                        return 128
                    moved = parts[n][0] + y
                    return compensate((reference[n], 255), x, moved, vectors[block], (s, s), top)

                moved = [[[sample(n, x, y) for x in range(w)] for y in range(b - a)]
                         for n, (a, b, w) in enumerate(parts)]
                p = packed(moved, rows, columns)
            y = nets.latents(d, rows, columns)
            d.finish()
            found = nets.synthesis(y, p, rows, columns)
            for n, (a, b, w) in enumerate(parts):
                first, side = ((0, 8), (64, 4), (80, 4))[n]
                of = lambda y, x: found[y // side * 2 * columns + x // side][first + y % side * side + x % side]
                picture[n] += [[of(y, x) for x in range(w)] for y in range(b - a)]
        known[number] = picture
        whole = b"".join(bytes(row) for plane in picture for row in plane)
        assert not flags & 1 or zlib.crc32(whole) == crc, f"frame {number}"
        digest.update(whole)
    return digest.hexdigest()


if __name__ == "__main__":
    assert len(TABLES) == 192
    print(decode(*sys.argv[1:]))
