#!/usr/bin/env python3
"""Writes the tables of properties in the guides from the built elements.

properties.py [--check]    --check only says whether the tables are up to date
"""

import pathlib
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GObject, Gst  # noqa: E402  (the version comes first)

ROOT = pathlib.Path(__file__).resolve().parents[1]
GUIDES = {"nnupscale.md": ["nnupscale"], "neural-codec.md": ["neuralenc", "neuraldec"]}
BEGIN, END = "<!-- properties of {}: written by make docs -->", "<!-- end of properties -->"
# Of base classes, what our guides speak of.
INHERITED = {"max-errors", "discard-corrupted-frames"}


def values(spec: GObject.ParamSpec) -> str:
    """The values a property takes, its default in bold."""
    if GObject.type_is_a(spec.value_type, GObject.TYPE_ENUM):
        members = spec.enum_class.__enum_values__.values()
        default = int(spec.default_value)
        names = [f"**{m.value_nick}**" if int(m) == default else m.value_nick for m in members]
        return ", ".join(names)
    default = spec.default_value
    if default is None:
        return "text"
    if isinstance(default, str):
        return f"text, **{default}**"
    if isinstance(default, float):
        return f"{spec.minimum:g} to {spec.maximum:g}, **{default:g}**"
    if isinstance(default, int) and hasattr(spec, "minimum"):
        low, high = spec.minimum, spec.maximum
        return f"from {low}, **{default}**" if high >= 2**31 - 1 else f"{low} to {high}, **{default}**"
    return str(default)


def table(name: str) -> str:
    """All properties of an element of ours as a Markdown table."""
    element = Gst.ElementFactory.make(name, None)
    if element is None:
        raise SystemExit(f"GStreamer has no {name}: run `make build`, set GST_PLUGIN_PATH")
    rows = ["| property | values (default) | meaning |", "|---|---|---|"]
    for spec in sorted(element.list_properties(), key=lambda s: s.name):
        if spec.owner_type != element.__gtype__ and spec.name not in INHERITED:
            continue
        if not spec.flags & GObject.ParamFlags.WRITABLE:
            kind = "read only"
        else:
            kind = values(spec)
            if spec.flags & Gst.PARAM_MUTABLE_PLAYING:
                kind += "; may change while running"
        rows.append(f"| `{spec.name}` | {kind} | {spec.blurb} |")
    return "\n".join(rows)


def main() -> int:
    Gst.init(None)
    old = 0
    for guide, elements in GUIDES.items():
        path = ROOT / "docs" / guide
        text = made = path.read_text()
        for name in elements:
            begin = BEGIN.format(name)
            head, rest = made.split(begin)
            _, tail = rest.split(END, 1)
            made = f"{head}{begin}\n{table(name)}\n{END}{tail}"
        if "--check" not in sys.argv[1:]:
            path.write_text(made)
        elif made != text:
            print(f"docs/{guide}: a table of properties is old; run `make docs`")
            old = 1
    return old


if __name__ == "__main__":
    sys.exit(main())
