"""The networks of the lossy profiles in plain Python, written from docs/bitstream.md and nothing else.

For networks as small as those of the golden streams.
"""

import hashlib
import struct
import zlib

from reference_decoder import TABLES, clip, table

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


def shuffled(x, columns):
    """Depth to space: `(2 i + j) C + k` at (r, c) becomes k at (2 r + i, 2 c + j)."""
    depth, out = len(x[0]) // 4, [None] * (4 * len(x))
    for at, v in enumerate(x):
        for i in range(4):
            row, column = 2 * (at // columns) + i // 2, 2 * (at % columns) + i % 2
            out[row * 2 * columns + column] = v[depth * i:depth * i + depth]
    return out


class Networks:
    """The networks (and code vectors, if `vq`) of a kind at a level."""

    def __init__(self, tensors, kind, level, vq):
        self.tensors, self.kind, self.level, self.known = tensors, kind, level, {}
        self.steps = self.row("step", level)
        self.latents = self.vectors if vq else self.hyper
        if vq:
            self.tables = {part: [table(f) for f in self.rows(f"vq.{part}")] for part in ("class", "index")}

    def get(self, name):
        return self.tensors[f"{self.kind}.{name}"]

    def rows(self, name):
        """The values by the last axis."""
        if name not in self.known:
            shape, values = self.get(name)
            self.known[name] = [values[i:i + shape[-1]] for i in range(0, len(values), shape[-1])]
        return self.known[name]

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

    def hyper(self, d, rows, columns, copied):
        """The latents of a slice by position, spread as the hyper-latents say, times their steps."""
        y, across = [], -(-columns // 4)
        tables = [TABLES[4 * scale] for scale in self.row("z", self.level)]

        def read(r, c):
            below, right = range(4 * r, min(4 * r + 4, rows)), range(4 * c, min(4 * c + 4, columns))
            hidden = all((i, j) in copied for i in below for j in right)
            return [0 if hidden else d.signed(t) for t in tables]

        bands = [[read(r, c) for c in range(across)] for r in range(-(-rows // 4))]
        for n, z in enumerate(bands):
            here = min(4, rows - 4 * n)
            x = [[signed(64 * v) for v in position] for position in z]
            x = shuffled(self.dense("hs.up1", x, 0), across)
            x = self.dense("hs.d1", self.depthwise("hs.dw1", x, 2, 2 * across), 0)
            x = shuffled(self.dense("hs.up2", x, 0), 2 * across)
            x = [x[4 * across * r + c] for r in range(here) for c in range(columns)]
            f = self.dense("hs.d2", self.depthwise("hs.dw2", x, here, columns), 0)
            band, group = [[] for _ in f], 0
            while f"{self.kind}.hs.{group}.scale.w" in self.tensors:
                scales, means = self.dense(f"hs.{group}.scale", f), self.dense(f"hs.{group}.mean", f)
                places = [divmod(4 * n * columns + i, columns) for i in range(len(f))]
                values = [[0] * len(s) if place in copied else self.spread(d, s, m, len(band[0]))
                          for place, s, m in zip(places, scales, means)]
                band = [known + q for known, q in zip(band, values)]
                if f"{self.kind}.hs.{group}.mix.w" in self.tensors:
                    a = [[min(128 * abs(q), LIMIT) for q in v] for v in values]
                    t = self.depthwise(f"hs.{group}.dw", a, here, columns)
                    f = self.dense(f"hs.{group}.mix", [i + j + k for i, j, k in zip(f, a, t)], 0)
                group += 1
            y += band
        return [[signed(q * step + 8 >> 4) for q, step in zip(v, self.steps)] for v in y]

    def spread(self, d, scales, means, first):
        """The latents of a group at a position; the first of them has this number."""
        shift, inverse = self.row("shift", self.level), self.row("inv", self.level)
        out = []
        for c, (scale, mean) in enumerate(zip(scales, means), first):
            index = clip(scale + shift[c] + 8 >> 4, 0, 47)
            m = clip(mean * inverse[c] + 2048 >> 12, -16383, 16383)
            base = m + 4 >> 3
            fraction = m - 8 * base
            v = d.signed(TABLES[4 * index + min(abs(fraction), 3)]) if index else 0
            out.append(clip(base + (-v if fraction < 0 else v), -32767, 32767))
        return out

    def vectors(self, d, rows, columns, copied):
        """The latents of a slice by position, as sums of code vectors."""
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
                    own[p] = 0 if (r, c) in copied else d.symbol(self.tables["class"][number])
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
        r = shuffled(self.dense("gs.lin", y), columns)
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
