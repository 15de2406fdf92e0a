#!/usr/bin/env python3
"""Embeds nnupscale in a Python program: the first picture of a clip, upscaled, as PNG.

    upscale.py CLIP PICTURE.png [MODEL]

Needs python3-gi; the plugin is found through GST_PLUGIN_PATH or where it is installed.
"""

import pathlib
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402  (the version comes first)


def upscale(clip: pathlib.Path, model: str) -> Gst.Sample:
    """The first frame of `clip` through `model`, as PNG."""
    pipeline = Gst.parse_launch(
        "filesrc name=source ! decodebin ! nnupscale name=upscale "
        "! videoconvert ! pngenc snapshot=true ! appsink name=sink sync=false"
    )
    pipeline.get_by_name("source").set_property("location", str(clip))
    upscaler = pipeline.get_by_name("upscale")
    upscaler.set_property("model", model)
    pipeline.set_state(Gst.State.PLAYING)
    try:
        # Whichever comes first: a picture, or the reason why there is none.
        sample = None
        while sample is None:
            sample = pipeline.get_by_name("sink").emit("try-pull-sample", Gst.SECOND // 10)
            failure = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
            if failure is not None:
                raise RuntimeError("{0.message}\n{1}".format(*failure.parse_error()))
            if sample is None and pipeline.get_by_name("sink").get_property("eos"):
                raise RuntimeError("there is no picture in it")
        print(f"x{upscaler.get_property('scale')}, {upscaler.get_property('stats').to_string()}")
        return sample
    finally:
        pipeline.set_state(Gst.State.NULL)


def main() -> int:
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    clip, picture = map(pathlib.Path, sys.argv[1:3])
    Gst.init(None)
    try:
        sample = upscale(clip, sys.argv[3] if len(sys.argv) == 4 else "luma-x2")
    except RuntimeError as error:
        print(f"{clip}: {error}", file=sys.stderr)
        return 1
    structure = sample.get_caps().get_structure(0)
    width, height = structure.get_value("width"), structure.get_value("height")
    buffer = sample.get_buffer()
    picture.write_bytes(buffer.extract_dup(0, buffer.get_size()))
    print(f"{picture}: {width}x{height}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
