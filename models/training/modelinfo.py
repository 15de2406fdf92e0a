"""Writes `MODEL.modelinfo`: GStreamer 1.28's GstAnalyticsModelInfo ini plus `[nnupscale]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInfo:
    """What an element has to know of a model that its ONNX file does not say."""

    name: str
    description: str
    license: str
    scale: int
    channels: int
    overlap: int
    multiple: int = 1
    input: str = "input"
    output: str = "output"
    layout: str = "nchw"
    range: str = "0,1"
    order: str = "rgb"
    window: int = 1
    tier: str = "quality"
    variant: str = "clean"
    blend: str = ""
    batch: str = "-1"
    element: str = "float32"

    def text(self):
        """The ini file."""
        planes = self.channels
        dims = f"-1,-1,{planes}" if self.layout == "nhwc" else f"{planes},-1,-1"
        top = self.range.split(",")[1]
        lines = ["[modelinfo]", "version=1.0", f"group-id={self.name}", ""]
        for tensor, direction in ((self.input, "input"), (self.output, "output")):
            lines += [
                f"[{tensor}]",
                f"id={self.name}-{direction}",
                f"group-id={self.name}",
                f"type={self.element}",
                f"dims={self.batch},{dims}",
                f"dir={direction}",
                "dims-order=row-major",
                "ranges=" + ";".join([f"0.0,{float(top)}"] * planes),
                "",
            ]
        lines += [
            "[nnupscale]",
            f"name={self.name}",
            f"description={self.description}",
            f"license={self.license}",
            f"scale={self.scale}",
            f"channels={self.channels}",
            f"layout={self.layout}",
            f"range={self.range}",
            f"order={self.order}",
            f"multiple={self.multiple}",
            f"window={self.window}",
            f"overlap={self.overlap}",
            f"tier={self.tier}",
            f"variant={self.variant}",
        ]
        if self.blend:
            lines.append(f"blend={self.blend}")
        return "\n".join(lines) + "\n"
