"""Writes a small, randomly initialised SwinIR `.pth`: proof of the path for window models.

    python swinir.py OUT.pth

No SwinIR weights of a permissive licence are at hand; this has the real architecture (two
residual Swin layers, windows of 8, shifted every other block) and meaningless weights.
"""

import argparse

import torch
from spandrel.architectures.SwinIR import SwinIR


def small(seed=0, scale=2):
    """The module."""
    torch.manual_seed(seed)
    return SwinIR(
        img_size=64,
        in_chans=3,
        embed_dim=24,
        depths=[2, 2],
        num_heads=[4, 4],
        window_size=8,
        mlp_ratio=2,
        upscale=scale,
        img_range=1.0,
        upsampler="pixelshuffledirect",
    )


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.save({"params": small(args.seed).state_dict()}, args.target)


if __name__ == "__main__":
    main()
