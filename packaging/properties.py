#!/usr/bin/env python3
"""Writes the table of properties in docs/nnupscale.md from the built element.

properties.py [--check]    --check only says whether the table is up to date
"""

import pathlib
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GObject, Gst  # noqa: E402  (the version comes first)

ROOT = pathlib.Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "nnupscale.md"
BEGIN, END = "<!-- properties: written by make docs -->", "<!-- end of properties -->"
INHERITED = {"name", "parent", "qos"}


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


def table() -> str:
    """All properties of nnupscale itself as a Markdown table."""
    element = Gst.ElementFactory.make("nnupscale", None)
    if element is None:
        raise SystemExit("GStreamer has no nnupscale: run `make build`, set GST_PLUGIN_PATH")
    rows = ["| property | values (default) | meaning |", "|---|---|---|"]
    for spec in sorted(element.list_properties(), key=lambda s: s.name):
        if spec.name in INHERITED:
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
    text = GUIDE.read_text()
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    made = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if "--check" in sys.argv[1:]:
        if made != text:
            print(f"{GUIDE.relative_to(ROOT)}: the table of properties is old; run `make docs`")
        return int(made != text)
    GUIDE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
