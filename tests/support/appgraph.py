"""Sends frames through a piece of a GStreamer pipeline: appsrc ! PIECE ! appsink.

Runs as a program of its own, so that neither GStreamer nor the plugin's ONNX Runtime
shares a process with the test's. Reads a request as JSON from stdin, the frames as an
.npy file; writes the frames that came out as .npy and a report as JSON to stdout.

Frames are packed: every plane row by row without padding, one plane after the other.
"""

import json
import sys
import time

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstApp, GstVideo  # noqa: E402  (versions first)


def plane_shapes(info: GstVideo.VideoInfo) -> list[tuple[int, int]]:
    """Rows and bytes a row of each plane of a frame, without padding."""
    finfo = info.finfo
    shapes = []
    for plane in range(finfo.n_planes):
        component = list(finfo.plane[: finfo.n_components]).index(plane)
        width = -(-info.width >> finfo.w_sub[component])
        height = -(-info.height >> finfo.h_sub[component])
        shapes.append((height, width * finfo.pixel_stride[component]))
    return shapes


def packed_size(info: GstVideo.VideoInfo) -> int:
    """Bytes of a packed frame."""
    return sum(rows * row for rows, row in plane_shapes(info))


def pad(frame: np.ndarray, info: GstVideo.VideoInfo) -> bytes:
    """A packed frame in the layout that GStreamer gives this format by default."""
    out = np.zeros(info.size, np.uint8)
    at = 0
    for plane, (rows, row) in enumerate(plane_shapes(info)):
        stride, offset = info.stride[plane], info.offset[plane]
        view = np.lib.stride_tricks.as_strided(out[offset:], (rows, row), (stride, 1))
        view[:] = frame[at : at + rows * row].reshape(rows, row)
        at += rows * row
    return out.tobytes()


def unpad(buffer: Gst.Buffer, info: GstVideo.VideoInfo) -> np.ndarray:
    """A packed copy of a buffer's frame, whatever its strides."""
    meta = GstVideo.buffer_get_video_meta(buffer)
    strides = list(meta.stride) if meta else list(info.stride)
    offsets = list(meta.offset) if meta else list(info.offset)
    ok, mapped = buffer.map(Gst.MapFlags.READ)
    if not ok:
        raise RuntimeError("an output buffer could not be mapped")
    try:
        data = np.frombuffer(mapped.data, np.uint8)
        planes = []
        for plane, (rows, row) in enumerate(plane_shapes(info)):
            start = data[offsets[plane] :]
            view = np.lib.stride_tricks.as_strided(start, (rows, row), (strides[plane], 1))
            planes.append(view.reshape(-1).copy())
        return np.concatenate(planes)
    finally:
        buffer.unmap(mapped)


def value_of(value: object) -> object:
    """A value of a GStreamer structure as JSON can hold it."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def read_stats(pipeline: Gst.Bin) -> dict[str, object]:
    """The `stats` of the element named `nn`, if there is one."""
    element = pipeline.get_by_name("nn")
    if element is None or element.find_property("stats") is None:
        return {}
    stats = element.get_property("stats")
    return {
        stats.nth_field_name(i): value_of(stats.get_value(stats.nth_field_name(i)))
        for i in range(stats.n_fields())
    }


class Graph:
    """appsrc ! PIECE ! appsink with the request's caps."""

    def __init__(self, request: dict) -> None:
        self.pipeline = Gst.parse_launch(
            "appsrc name=in format=time block=true max-buffers=4 max-bytes=0 "
            f"! {request['piece']} ! appsink name=out sync=false"
        )
        self.caps = Gst.Caps.from_string(request["caps"])
        self.source = self.pipeline.get_by_name("in")
        self.sink = self.pipeline.get_by_name("out")
        self.source.set_property("caps", self.caps)
        self.out_caps: Gst.Caps | None = None
        self.frames: list[np.ndarray] = []
        self.times: list[tuple[int, int]] = []
        self.arrivals: list[float] = []
        self.keep = request.get("keep", True)

    def pull(self, timeout_ns: int) -> bool:
        """Takes one frame if there is one in time."""
        sample = self.sink.emit("try-pull-sample", timeout_ns)
        if sample is None:
            return False
        self.arrivals.append(time.monotonic())
        buffer = sample.get_buffer()
        self.out_caps = sample.get_caps()
        if self.keep:
            info = GstVideo.VideoInfo.new_from_caps(self.out_caps)
            self.frames.append(unpad(buffer, info))
        self.times.append((buffer.pts, buffer.duration))
        return True

    def error(self) -> str | None:
        """The first error on the bus."""
        message = self.pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        if message is None:
            return None
        error, debug = message.parse_error()
        return f"{error.message}\n{debug or ''}"

    def feed(self, frames: np.ndarray, repeat: int) -> None:
        """Pushes all frames `repeat` times over, taking output as it comes."""
        info = GstVideo.VideoInfo.new_from_caps(self.caps)
        layout = [pad(frame, info) for frame in frames]
        period = Gst.SECOND * max(info.fps_d, 1) // max(info.fps_n, 1)
        number = 0
        for _ in range(repeat):
            for frame in layout:
                buffer = Gst.Buffer.new_wrapped(frame)
                buffer.pts = number * period
                buffer.duration = period
                if self.source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    return
                number += 1
                while self.pull(0):
                    pass
        self.source.emit("end-of-stream")


def main() -> None:
    request = json.load(sys.stdin)
    Gst.init(None)
    graph = Graph(request)
    frames = np.load(request["input"])
    started = time.monotonic()
    graph.pipeline.set_state(Gst.State.PLAYING)
    graph.feed(frames, request.get("repeat", 1))
    report: dict[str, object] = {"error": graph.error()}
    while report["error"] is None and not graph.sink.get_property("eos"):
        graph.pull(Gst.SECOND // 5)
        report["error"] = graph.error()
    report["seconds"] = time.monotonic() - started
    report["arrivals"] = graph.arrivals
    report["stats"] = read_stats(graph.pipeline)
    report["times"] = graph.times
    report["caps"] = graph.out_caps.to_string() if graph.out_caps else None
    graph.pipeline.set_state(Gst.State.NULL)
    if graph.frames:
        np.save(request["output"], np.stack(graph.frames))
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
