#!/usr/bin/env python3
"""A second decoder of the lossless profile, written from docs/bitstream.md and nothing else.

    reference_decoder.py tests/golden/i420.gnvc...

Prints the SHA-256 of the frames of each golden stream, to compare with those in golden.rs. Made to
be read beside the specification, not to be fast; it knows no damage but what it asserts.
"""

import hashlib
import os
import struct
import sys
import zlib

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tables")
M32 = 0xFFFFFFFF


def clip(v, a, b):
    return max(a, min(v, b))


def unzigzag(v):
    return -((v + 1) >> 1) if v & 1 else v >> 1


def zigzag(v):
    return 2 * v if v >= 0 else -2 * v - 1


def load_tables(name):
    raw = open(os.path.join(FOLDER, name), "rb").read()
    assert raw[:4] == b"GNT1"
    count, at, tables = struct.unpack_from("<H", raw, 4)[0], 6, []
    for _ in range(count):
        n = struct.unpack_from("<H", raw, at)[0]
        tables.append(table(struct.unpack_from(f"<{n}H", raw, at + 2)))
        at += 2 + 2 * n
    return raw, tables


def table(freqs):
    slots, start = [], 0
    for s, f in enumerate(freqs):
        slots += [(s, f, start)] * f
        start += f
    assert start == 1 << 14
    return slots, len(freqs)


RAW_TABLES, TABLES = load_tables("laplace.bin")
NIBBLE = table([1024] * 16)


class Entropy:
    def __init__(self, data):
        self.states = list(struct.unpack_from("<4I", data))
        self.words = struct.unpack_from(f"<{len(data) // 2 - 8}H", data, 16)
        self.at = self.turn = 0

    def symbol(self, tab):
        x = self.states[self.turn]
        slot = x & 0x3FFF
        s, f, c = tab[0][slot]
        x = (f * (x >> 14) + slot - c) & M32
        if x < 1 << 16:
            x = (x << 16 | self.words[self.at]) & M32
            self.at += 1
        self.states[self.turn] = x
        self.turn = (self.turn + 1) % 4
        return s

    def nibble(self):
        return self.symbol(NIBBLE)

    def byte(self):
        return self.nibble() << 4 | self.nibble()

    def choice(self):
        return TABLES[self.byte()]

    def signed(self, tab):
        s = self.symbol(tab)
        if s:
            return unzigzag(s - 1)
        v = 0
        for _ in range(min(self.nibble(), 8)):
            v = v << 4 | self.nibble()
        return unzigzag(v + tab[1] - 1)

    def finish(self):
        assert self.at == len(self.words) and self.states == [1 << 16] * 4


class OneState(Entropy):
    def __init__(self, data):
        self.x, self.bytes, self.at = 0, data, 0
        self.fill()

    def fill(self):
        while self.x < 1 << 16 and self.at < len(self.bytes):
            self.x = self.x << 8 | self.bytes[self.at]
            self.at += 1

    def symbol(self, tab):
        slot = self.x & 0x3FFF
        s, f, c = tab[0][slot]
        self.x = f * (self.x >> 14) + slot - c
        self.fill()
        return s

    def finish(self):
        assert self.at == len(self.bytes) and self.x == 0


def read_field(d, width, height):
    """Vectors by 8x8 block, and the set of intra macroblocks."""
    columns, rows = -(-width // 16), -(-height // 16)
    modes, vectors = d.choice(), d.choice()
    known, intra = {}, set()

    def predict(x, y, size):
        inside = lambda x, y: 0 <= x < 2 * columns and 0 <= y < 2 * rows
        a, b = known.get((x - 1, y), (0, 0)), known.get((x, y - 1), (0, 0))
        c, lower_right = (x + size, y - 1), size == 1 and x % 2 == 1 and y % 2 == 1
        if lower_right or not inside(*c):
            c = (x - 1, y - 1)
        c = known.get(c, (0, 0))
        return tuple(sorted(t)[1] for t in zip(a, b, c))

    def vector(x, y, size):
        p = predict(x, y, size)
        v = (p[0] + d.signed(vectors), p[1] + d.signed(vectors))
        assert max(map(abs, v)) <= 4095
        return v

    for by in range(rows):
        for bx in range(columns):
            mode, x, y = d.signed(modes), 2 * bx, 2 * by
            four = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)]
            if mode == -1:
                known.update({b: (0, 0) for b in four})
                for b in four:
                    known[b] = vector(*b, 1)
                continue
            v = {0: lambda: predict(x, y, 2), 1: lambda: vector(x, y, 2), 2: lambda: (0, 0)}[mode]()
            if mode == 2:
                intra.add((bx, by))
            known.update({b: v for b in four})
    return known, intra


def compensate(plane, x, y, v, shifts, top):
    """The sample at (x, y) of a plane moved by the vector v."""
    rows, max_value = plane
    at = lambda x, y: rows[clip(y, 0, len(rows) - 1)][clip(x, 0, len(rows[0]) - 1)]
    if shifts != (0, 0):
        fx = v[0] & 7 if shifts[0] else 2 * (v[0] & 3)
        fy = v[1] & 7 if shifts[1] else 2 * (v[1] & 3)
        x, y = x + (v[0] >> 2 + shifts[0]), y + (v[1] >> 2 + shifts[1])
        return ((8 - fx) * (8 - fy) * at(x, y) + fx * (8 - fy) * at(x + 1, y)
                + (8 - fx) * fy * at(x, y + 1) + fx * fy * at(x + 1, y + 1) + 32) >> 6
    x, y = x + (v[0] >> 2), y + (v[1] >> 2)
    taps = (1, -5, 20, 20, -5, 1)
    across = lambda x, y: sum(t * at(x + k - 2, y) for k, t in enumerate(taps))
    limit = lambda v: clip(v, 0, max_value)
    b = lambda x, y: limit(across(x, y) + 16 >> 5)
    h = lambda x, y: limit(sum(t * at(x, y + k - 2) for k, t in enumerate(taps)) + 16 >> 5)
    j = lambda x, y: limit(sum(t * across(x, y + k - 2) for k, t in enumerate(taps)) + 512 >> 10)
    avg = lambda p, q: p + q + 1 >> 1
    cases = {
        (0, 0): lambda: at(x, y), (1, 0): lambda: avg(at(x, y), b(x, y)),
        (2, 0): lambda: b(x, y), (3, 0): lambda: avg(b(x, y), at(x + 1, y)),
        (0, 1): lambda: avg(at(x, y), h(x, y)), (1, 1): lambda: avg(b(x, y), h(x, y)),
        (2, 1): lambda: avg(b(x, y), j(x, y)), (3, 1): lambda: avg(b(x, y), h(x + 1, y)),
        (0, 2): lambda: h(x, y), (1, 2): lambda: avg(h(x, y), j(x, y)),
        (2, 2): lambda: j(x, y), (3, 2): lambda: avg(j(x, y), h(x + 1, y)),
        (0, 3): lambda: avg(h(x, y), at(x, y + 1)), (1, 3): lambda: avg(b(x, y + 1), h(x, y)),
        (2, 3): lambda: avg(j(x, y), b(x, y + 1)), (3, 3): lambda: avg(b(x, y + 1), h(x + 1, y)),
    }
    return cases[v[0] & 3, v[1] & 3]()


def taps_of(p, r, lossy):
    """The list of taps (source, dx, dy), and the place of the base.

    With `lossy` the last of the r references is the lossy picture beside a reference frame.
    """
    r -= lossy
    if r == 0:
        current = [(-1, 0), (-2, 0), (-1, -1), (1, -1), (0, -2)]
        if p == 0:
            current += [(2, -1), (-2, -1), (-1, -2), (1, -2)]
        out = [("current", *t) for t in current + [(0, -1)]]
    else:
        current = [(-1, 0), (-2, 0), (0, -1), (-1, -1), (1, -1), (0, -2)]
        if p == 0:
            current += [(2, -1), (-2, -1)]
        out = [("current", *t) for t in current]
        if lossy:
            out.append((r, 0, 0))
        around = [(1, 0), (-1, 0), (0, 1), (0, -1)]
        if p == 0 and r == 1:
            around += [(1, 1), (-1, 1), (1, -1), (-1, -1)]
        for ref in reversed(range(r)):
            out += [(ref, *t) for t in around + [(0, 0)]]
    return out + [(f"aside{a}", 0, 0) for a in range(p)], len(out) - 1


def level_of(a):
    a = min(a, 8191)
    n = a.bit_length() - 1
    return a if a < 8 else min(47, 8 + 4 * (n - 3) + (a >> n - 2 & 3))


def decode_plane(d, p, width, height, block, bits, near, mc, asides, lossy):
    """Samples and residuals of a plane of a slice. mc: a function of (x, y) for each reference."""
    taps, base = taps_of(p, len(mc), lossy)
    columns, rows = -(-width // block[0]), -(-height // block[1])
    classes = d.byte() + 1
    tab, weights = d.choice(), []
    for _ in range(classes):
        sent = [d.signed(tab) for _ in range(len(taps) - 1)]
        weights.append(sent[:base] + [256 - sum(sent[:base])] + sent[base:])
    tab, order, blocks = d.choice(), list(range(classes)) + ["copy"], {}
    for by in range(rows):
        for bx in range(columns):
            for neighbour in ((bx, by - 1), (bx - 1, by)):
                if neighbour in blocks:
                    order.remove(blocks[neighbour])
                    order.insert(0, blocks[neighbour])
            blocks[bx, by] = order[zigzag(d.signed(tab))]
    tab, scales, scale = d.choice(), [], 0
    for _ in range(48):
        scale += d.signed(tab)
        scales.append(scale)
    max_value, grey = (1 << bits) - 1, 1 << bits - 1
    reference = [lambda x, y, f=f: f(clip(x, 0, width - 1), clip(y, 0, height - 1)) for f in mc]
    out, q = [], [[0] * width for _ in range(height)]

    def residual(x, y):
        return q[y][x] if 0 <= x < width and y >= 0 else 0

    def current(x, y):
        if y < 0 and mc:
            return reference[0](x, 0)
        if y < 0 and not (len(out) > 1):
            return grey
        if y < 0:
            y = 0
        if x < 0:
            # The first sample of the row above; above the first row nothing was known.
            return current(0, y - 1) if mc or y else grey
        return out[y][min(x, width - 1)]

    for y in range(height):
        out.append([None] * width)
        for x in range(width):
            kind = blocks[x // block[0], y // block[1]]
            if kind == "copy":
                out[y][x] = reference[0](x, y)
                continue
            w = weights[kind]
            if not mc and y == 0:
                w = [256] + [0] * (len(taps) - 1)
            total = 128
            for (source, dx, dy), weight in zip(taps, w):
                if weight == 0:
                    continue
                if source == "current":
                    value = current(x + dx, y + dy)
                elif isinstance(source, int):
                    value = reference[source](x + dx, y + dy)
                else:
                    value = asides[int(source[5:])](x, y)
                total += weight * value
            e = lambda dx, dy: abs(residual(x + dx, y + dy))
            a = (4 * e(-1, 0) + 2 * e(-2, 0) + 4 * e(0, -1) + 2 * e(-1, -1) + 2 * e(1, -1)
                 + e(0, -2))
            if p == 1:
                a += abs(asides[0](x, y))
            if p == 2:
                a += abs(asides[0](x, y)) // 2 + 3 * abs(asides[1](x, y))
            fraction = (total & 255) - 128
            offset = min(abs(fraction) >> 5, 3)
            v = d.signed(TABLES[4 * scales[level_of(a)] + offset])
            v = -v if fraction < 0 else v
            prediction = clip(total >> 8, 0, max_value)
            out[y][x] = clip(prediction + v * (2 * near + 1), 0, max_value)
            q[y][x] = clip(v, -1023, 1023)
    return out, residual


def slices_of(width, height, shifts, planes):
    """For each slice its luma rows (first, behind the last), and the same and the width of each plane."""
    count = max(1, (height + 32) // 64)
    out = []
    for i in range(count):
        last = i + 1 == count
        parts = []
        for p in range(planes):
            sx, sy = shifts if p else (0, 0)
            end = height + (1 << sy) - 1 if last else 64 * i + 64
            parts.append((64 * i >> sy, end >> sy, (width + (1 << sx) - 1) >> sx))
        out.append((64 * i, parts[0][1], parts))
    return out


def moved(field, reference, p, part, shifts, top, bits):
    """The motion-compensated samples of plane p of a slice, as a function of (x, y)."""
    (known, intra), cache = field, {}
    sx, sy = shifts if p else (0, 0)
    plane = reference[p], (1 << bits) - 1

    def sample(x, y):
        if (x, y) not in cache:
            bx, by = (x << sx) // 8, (y << sy) // 8
            if (bx // 2, by // 2) in intra:
                cache[x, y] = 1 << bits - 1
            else:
                cache[x, y] = compensate(plane, x, part[0] + y, known[bx, by], (sx, sy), top)
        return cache[x, y]

    return sample


def decode_slice(data, piece, shifts, bits, near, references, lossy=None):
    """The rows of each plane. lossy: those of the lossy picture, in a layer."""
    top, bottom, parts = piece
    d, out, residuals = Entropy(data), [], []
    fields = [read_field(d, parts[0][2], bottom - top) for _ in references]
    for p, part in enumerate(parts):
        sx, sy = shifts if p else (0, 0)
        mc = [moved(f, r, p, part, shifts, top, bits) for f, r in zip(fields, references)]
        if lossy:
            mc.append(lambda x, y, rows=lossy[p]: rows[y][x])
        asides = list(residuals)
        if p and (sx, sy) != (0, 0):
            def luma(x, y, r=residuals[0], h=bottom - top):
                ys = [2 * y, 2 * y + 1] if sy else [y]
                s = sum(r(2 * x + k, b) for b in ys if b < h for k in (0, 1))
                return s + 1 >> 1
            asides[0] = luma
        rows, residual = decode_plane(d, p, part[2], part[1] - part[0], (16 >> sx, 16 >> sy), bits,
                                      near, mc, asides, bool(lossy and references))
        out.append(rows)
        residuals.append(residual)
    d.finish()
    return out


def compact_head(unit):
    """The fields of the head, the layer's, the index, and where it ends."""
    at = 3

    def take(form):
        nonlocal at
        at += struct.calcsize(form)
        return struct.unpack_from(form, unit, at - struct.calcsize(form))[0]

    def varint():
        v = shift = 0
        while True:
            byte = take("<B")
            v, shift = v | (byte & 127) << shift, shift + 7
            if byte < 128:
                return v

    kind, flags, qp = unit[1] & 3, unit[1] >> 2, unit[2]
    assert flags <= 7
    number, distances = varint(), [0, 0]
    if kind:
        distances[0] = take("<b")
    if flags & 4:
        distances[1] = take("<b")
    n = varint()
    crc, layer, index = take("<I") if flags & 1 else 0, None, []
    if flags & 2:
        near, of_layer = take("<B"), take("<B")
        layer = near, of_layer, 0, take("<I") if of_layer & 1 else 0
    for _ in range(2 * n if layer else n):
        length = varint()
        index.append((length, take("<H") if length else 0))
    return (kind, qp, flags, number, distances, n, crc), layer, index, at


def units(raw):
    """Of each access unit type, QP, number, distances, CRC of the picture (or None), its slices, and its
    layer: (greatest error, whether it refers, CRC, slices), or None."""
    at = 64
    while at < len(raw):
        size = struct.unpack_from("<I", raw, at)[0]
        unit, at = raw[at + 4:at + 4 + size], at + 4 + size
        if unit[0] == 0xA6:
            (kind, qp, flags, number, distances, n, crc), layer, index, end = compact_head(unit)
        else:
            mark, kind, qp, flags, number, *distances, n, crc = struct.unpack_from("<BBBBIbbHI", unit)
            assert mark == 0xA7 and flags <= 3
            index, end, layer = list(struct.iter_unpack("<II", unit[16:16 + 8 * n])), 16 + 8 * n, None
            if flags & 2:
                layer = struct.unpack_from("<BBHI", unit, end)
                end += 8 + 8 * n
                index += struct.iter_unpack("<II", unit[end - 8 * n:end])
        assert zlib.crc32(unit[:end]) == struct.unpack_from("<I", unit, end)[0]
        end, slices = end + 4, []
        for length, sum_ in index:
            slices.append(unit[end:end + length])
            found = zlib.crc32(slices[-1])
            assert sum_ == (found if unit[0] == 0xA7 else found & 0xFFFF if length else 0)
            end += length
        assert end == len(unit)
        if layer:
            near, of_layer, zero, crc_of_layer = layer
            assert of_layer <= 3 and zero == 0 and not (kind == 0 and of_layer & 2)
            layer = near, of_layer & 2 != 0, crc_of_layer if of_layer & 1 else None, slices[n:]
        yield kind, qp, number, distances, crc if flags & 1 else None, slices[:n], layer


def whole(picture, bits, crc, name):
    """The bytes of a picture, whose CRC is compared if there is one."""
    code = "B" if bits == 8 else "H"
    out = b"".join(struct.pack(f"<{len(r)}{code}", *r) for p in picture for r in p)
    assert crc is None or zlib.crc32(out) == crc, name
    return out


def decode(path):
    raw = open(path, "rb").read()
    head = raw[:64]
    assert head[:4] == b"GNVC" and head[4] == 1 and head[5] == 2 and head[7] in (0, 4)
    assert zlib.crc32(head[:60]) == struct.unpack_from("<I", head, 60)[0]
    assert head[28:60] == hashlib.sha256(RAW_TABLES).digest()
    width, height = struct.unpack_from("<HH", head, 8)
    chroma, bits = head[12], head[13]
    shifts = {0: (0, 0), 1: (1, 1), 2: (1, 0), 3: (0, 0)}[chroma]
    pieces = slices_of(width, height, shifts, 3 if chroma else 1)
    frames, digest = {}, hashlib.sha256()
    for _, near, number, distances, crc, slices, layer in units(raw):
        assert len(slices) == len(pieces) and layer is None
        references = [frames[number - x] for x in distances if x]
        parts = [decode_slice(data, piece, shifts, bits, near, references)
                 for data, piece in zip(slices, pieces)]
        frames[number] = [sum(rows, []) for rows in zip(*parts)]
        digest.update(whole(frames[number], bits, crc, f"frame {number}"))
    return digest.hexdigest()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, decode(name))
