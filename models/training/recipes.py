"""The shipped models: which network, which data, starting from which weights."""

from dataclasses import dataclass

from nets import Shape


@dataclass(frozen=True)
class Recipe:
    """One model."""

    shape: Shape
    variant: str
    tier: str
    start: str | None
    description: str
    half: bool = False
    """Exported with weights, input and output of half precision."""


QUALITY = Shape(scale=2, channels=16, depth=4)
QUALITY_COMPRESSED = Shape(scale=2, channels=16, depth=8)
"""Blocks and ringing reach further than blur does: four more layers see further."""
FAST = Shape(scale=2, channels=16, depth=6, stride=2)
QUALITY_X4 = Shape(scale=4, channels=16, depth=4)
GPU_X2 = Shape(scale=2, channels=64, depth=16, planes=3)
GPU_X4 = Shape(scale=4, channels=64, depth=16, planes=3)
"""ReLU, not PReLU: ONNX Runtime and TensorRT fuse it with the convolution before."""
REFINE = Shape(scale=1, channels=16, depth=4)

RECIPES = {
    "luma-x2-clean": Recipe(
        QUALITY, "clean", "quality", None, "x2 luma upscaler for clean, sharp sources"
    ),
    "luma-x2-fast-clean": Recipe(
        FAST, "clean", "live", None, "x2 luma upscaler for clean, sharp sources, live"
    ),
    "luma-x2-compressed": Recipe(
        QUALITY_COMPRESSED,
        "compressed",
        "quality",
        "luma-x2-clean",
        "x2 luma upscaler for H.264/H.265 sources",
    ),
    "luma-x2-fast-compressed": Recipe(
        FAST,
        "compressed",
        "live",
        "luma-x2-fast-clean",
        "x2 luma upscaler for H.264/H.265 sources, live",
    ),
    "luma-x4": Recipe(
        QUALITY_X4, "compressed", "quality", None, "x4 luma upscaler for H.264/H.265 sources"
    ),
    "rgb-x2": Recipe(
        GPU_X2, "compressed", "gpu", None, "x2 RGB upscaler for H.264/H.265 sources, for a GPU", True
    ),
    "rgb-x4": Recipe(
        GPU_X4, "compressed", "gpu", None, "x4 RGB upscaler for H.264/H.265 sources, for a GPU", True
    ),
    "refine-x1": Recipe(
        REFINE, "decoded", "quality", None, "removes what neuralenc leaves in luma, behind neuraldec"
    ),
}

ALIASES = {"luma-x2": "luma-x2-compressed", "luma-x2-fast": "luma-x2-fast-compressed"}
