"""Deformable attention by rows and by maps, side by side: `python -m benchmarks.deformable_speed [--device cuda]`.

One call of `sample_levels` of Mask2Former's pixel decoder (8 heads of 32 channels, 3 levels, 4 points), picture by
picture size: milliseconds by maps and by rows, the best of several tries in turn, and their ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from syncvis_online.deformable import sample_maps, sample_rows

HEADS, CHANNELS, POINTS = 8, 32, 4
PICTURES = ((192, 320), (352, 640))
Sample = Callable[[Tensor, list[tuple[int, int]], Tensor, Tensor], Tensor]


def once(
    sample: Sample, arguments: tuple[Tensor, list[tuple[int, int]], Tensor, Tensor], *, gradients: bool
) -> float:
    """Milliseconds of one call."""
    device = arguments[0].device
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    with torch.set_grad_enabled(gradients):
        out = sample(*arguments)
        if gradients:
            out.sum().backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1000


def measure(picture: tuple[int, int], tries: int, device: torch.device, *, gradients: bool) -> str:
    sizes = [(picture[0] // stride, picture[1] // stride) for stride in (32, 16, 8)]
    cells = sum(h * w for h, w in sizes)
    torch.manual_seed(0)
    value = torch.randn(1, cells, HEADS, CHANNELS, device=device, requires_grad=gradients)
    shape = (1, cells, HEADS, len(sizes), POINTS)
    places = torch.rand(*shape, 2, device=device, requires_grad=gradients)
    weights = torch.full(shape, 1 / (len(sizes) * POINTS), device=device, requires_grad=gradients)
    best = {"maps": float("inf"), "rows": float("inf")}
    for _ in range(tries):
        for name, sample in (("maps", sample_maps), ("rows", sample_rows)):
            took = once(sample, (value, sizes, places, weights), gradients=gradients)
            best[name] = min(best[name], took)
    what = "with gradients" if gradients else "inference     "
    ratio = best["maps"] / best["rows"]
    return f"{picture[1]}x{picture[0]} {what} maps {best['maps']:7.1f} ms, rows {best['rows']:7.1f} ms: x {ratio:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tries", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for picture in PICTURES:
        for gradients in (False, True):
            print(
                measure(picture, options.tries, torch.device(options.device), gradients=gradients), flush=True
            )


if __name__ == "__main__":
    main()
