#!/usr/bin/env python3
"""Leaves the code of one GPU architecture in a CUDA library, so that it can be carried.

    slim.py IN.so OUT.so [--arch 90]

What belongs to other architectures is overwritten with zeros in place: offsets stay, the file
compresses to a fifth. A container of the section .nv_fatbin that has no machine code for the
architecture is left alone.
"""

import argparse
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

MAGIC = 0xBA55ED50
ELF = 2
"""Kind of an entry with machine code (1 is PTX)."""


def section(path, name=".nv_fatbin"):
    """Offset and size of a section in the file."""
    listing = subprocess.run(["readelf", "-SW", path], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        parts = line.replace("[ ", "[").split()
        if len(parts) > 5 and parts[1] == name:
            return int(parts[4], 16), int(parts[5], 16)
    raise SystemExit(f"{path} has no section {name}: is it a CUDA library?")


def entries(data, start, end):
    """(kind, architecture, offset of the payload, its size) of a container's entries."""
    at = start
    while at + 48 <= end:
        kind, _, head = struct.unpack_from("<HHI", data, at)
        (size,) = struct.unpack_from("<Q", data, at + 8)
        (arch,) = struct.unpack_from("<I", data, at + 28)
        if head < 48 or at + head + size > end:
            raise SystemExit(f"an entry at {at:#x} does not fit its container: another format?")
        yield kind, arch, at + head, size
        at += head + size


def containers(data, start, end):
    """(offset, offset of the end) of the entries of each container."""
    at = start
    while at + 16 <= end:
        magic, _, head, size = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:
            # Containers are aligned.
            at += 8
            continue
        yield at + head, at + head + size
        at += head + size


def main():
    """Writes the slim library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--arch", type=int, default=90)
    args = parser.parse_args()
    data = bytearray(args.source.read_bytes())
    start, size = section(args.source)
    kept, zeroed = Counter(), Counter()
    for first, last in containers(data, start, start + size):
        found = list(entries(data, first, last))
        if not any(kind == ELF and arch == args.arch for kind, arch, _, _ in found):
            kept["containers without it"] += last - first
            continue
        for kind, arch, at, length in found:
            if kind == ELF and arch == args.arch:
                kept[f"sm_{arch}"] += length
            else:
                zeroed[f"{'sm' if kind == ELF else 'ptx'}_{arch}"] += length
                data[at : at + length] = bytes(length)
    args.target.write_bytes(data)
    for what, counts in (("kept", kept), ("zeroed", zeroed)):
        print(what, ", ".join(f"{k}: {v >> 10} KiB" for k, v in sorted(counts.items())), file=sys.stderr)


if __name__ == "__main__":
    main()
