"""Convolutions, and for each those that differ from it in one thing: what ``bench.sweep`` times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.case_types import ConvCase, pair

Change = dict[str, Any]

LEAST_MULTIPLY_ADDS = 1_000_000
"""Of each convolution and each neighbour. A call takes some 25 µs whatever it computes; with less
to do, time per multiply-add would only tell how much there is of it."""


def conv(
    N: int, C: int, size: int | tuple[int, int], O: int, kernel: int | tuple[int, int],
    stride: int = 1, dilation: int = 1, groups: int = 1, padding: tuple[int, int] | None = None,
) -> ConvCase:  # fmt: skip
    """Return a convolution with half the kernel as padding, unless another is given."""
    H, W = (size, size) if isinstance(size, int) else size
    KH, KW = (kernel, kernel) if isinstance(kernel, int) else kernel
    if padding is None:
        padding = (dilation * (KH - 1) // 2, dilation * (KW - 1) // 2)
    return _named(
        ConvCase("", N, C, H, W, O, KH, KW, (stride,) * 2, padding, (dilation,) * 2, groups)
    )


def _named(case: ConvCase) -> ConvCase:
    """Name a convolution after all that it is."""
    name = f"b{case.N}-c{case.C}-{case.H}x{case.W}-o{case.O}-k{case.KH}x{case.KW}"
    for setting, usual in (("padding", 0), ("stride", 1), ("dilation", 1)):
        value = pair(getattr(case, setting))
        if value != (usual, usual):
            name += f"-{setting[0]}{value[0]}x{value[1]}"
    return replace(case, id=name if case.groups == 1 else f"{name}-g{case.groups}")


BASES: tuple[ConvCase, ...] = (
    # 3×3, from first layers to many channels on tiny images
    conv(32, 1, 28, 64, 3),
    conv(32, 3, 32, 16, 3),
    conv(32, 4, 56, 4, 3),
    conv(8, 8, 56, 8, 3),
    conv(32, 16, 28, 32, 3),
    conv(1, 48, 28, 48, 3),
    conv(32, 17, 13, 33, 3),
    conv(4, 48, 20, 96, 3),
    conv(1, 64, 56, 64, 3),
    conv(32, 64, 28, 1, 3),
    conv(1, 128, 14, 128, 3),
    conv(1, 256, 7, 256, 3),
    conv(8, 256, 7, 256, 3),
    conv(16, 16, (7, 56), 16, 3),
    conv(16, 16, (56, 7), 16, 3),
    # 1×1
    conv(32, 64, 28, 64, 1),
    conv(1, 64, 56, 64, 1),
    conv(1, 256, 56, 64, 1),
    conv(1, 64, 28, 256, 1),
    conv(1, 256, 14, 256, 1),
    conv(32, 256, 7, 256, 1),
    conv(32, 256, 14, 10, 1),
    conv(32, 3, 56, 16, 1),
    # larger kernels, oblong ones, and one that is the whole image
    conv(32, 6, 14, 16, 5, padding=(0, 0)),
    conv(8, 32, 28, 32, 5),
    conv(8, 16, 28, 16, 7),
    conv(1, 8, 56, 8, 7),
    conv(8, 32, 28, 32, (1, 7)),
    conv(8, 32, 28, 32, (7, 1)),
    conv(32, 64, 7, 128, 7, padding=(0, 0)),
    # strides
    conv(1, 3, 56, 64, 7, stride=2),
    conv(32, 1, 56, 32, 5, stride=2),
    conv(8, 64, 28, 128, 3, stride=2),
    conv(32, 64, 28, 128, 1, stride=2),
    conv(1, 128, 28, 128, 3, stride=2),
    # dilations
    conv(8, 32, 28, 32, 3, dilation=2),
    conv(1, 64, 28, 64, 3, dilation=4),
    conv(8, 16, 28, 16, 5, dilation=2),
    conv(8, 32, 28, 64, 3, stride=2, dilation=2),
    # groups, up to one channel each
    conv(8, 64, 28, 64, 3, groups=2),
    conv(8, 64, 28, 64, 3, groups=8),
    conv(16, 64, 28, 64, 3, groups=32),
    conv(8, 128, 14, 128, 1, groups=4),
    conv(32, 64, 28, 64, 3, groups=64),
    conv(32, 32, 28, 64, 3, groups=32),
    conv(32, 48, 56, 48, 3, stride=2, groups=48),
    conv(8, 32, 56, 32, 5, groups=32),
    conv(32, 128, 14, 128, 7, groups=128),
    conv(1, 256, 28, 256, 5, groups=256),
)
"""1 to 256 channels, images of 7 to 56, kernels of 1 to 7, batches of 1 to 32."""


def neighbours(base: ConvCase) -> list[tuple[str, ConvCase]]:
    """Return what is changed, and the convolution that comes of it, as far as there is one."""
    found = []
    for axis, changes in AXES.items():
        for change in changes(base):
            other = _named(replace(base, **change))
            if other != base and _exists(other):
                found.append((axis, other))
    return found


def _exists(case: ConvCase) -> bool:
    sizes = (case.N, case.C, case.O, case.H, case.W, *pair(case.stride), *pair(case.dilation))
    return min(sizes) > 0 and min(case.padding) >= 0 and min(case.y_shape) > 0


def _by_one(name: str) -> Callable[[ConvCase], list[Change]]:
    return lambda case: [{name: getattr(case, name) + step} for step in (-1, 1)]


def _both_by_one(name: str) -> Callable[[ConvCase], list[Change]]:
    def changes(case: ConvCase) -> list[Change]:
        down, across = pair(getattr(case, name))
        return [{name: (down + step, across + step)} for step in (-1, 1)]

    return changes


def _by_groups(name: str) -> Callable[[ConvCase], list[Change]]:
    """One channel less or more, of each group."""
    return lambda case: [{name: getattr(case, name) + step} for step in (-case.groups, case.groups)]


def _kernel(case: ConvCase) -> list[Change]:
    """Two taps less or more, and padding that makes up for it."""
    down, across = pair(case.dilation)
    changes = []
    for step in (-2, 2):
        KH, KW = max(1, case.KH + step), max(1, case.KW + step)
        more = down * (KH - case.KH) // 2, across * (KW - case.KW) // 2
        changes.append({"KH": KH, "KW": KW, "padding": _added(case.padding, more)})
    return changes


def _dilation(case: ConvCase) -> list[Change]:
    """Taps nearer or farther, and padding that makes up for it."""
    more = (case.KH - 1) // 2, (case.KW - 1) // 2
    less = -more[0], -more[1]
    down, across = pair(case.dilation)
    return [
        {"dilation": (down - 1, across - 1), "padding": _added(case.padding, less)},
        {"dilation": (down + 1, across + 1), "padding": _added(case.padding, more)},
    ]


def _added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def _groups(case: ConvCase) -> list[Change]:
    """Fewer, larger groups or more, smaller ones of the same channels."""
    fitting = [g for g in range(1, case.C + 1) if case.C % g == case.O % g == 0]
    at = fitting.index(case.groups)
    return [{"groups": g} for g in (*fitting[max(0, at - 1) : at], *fitting[at + 1 : at + 2])]


def _same_groups(case: ConvCase) -> list[Change]:
    """One less or more of the same groups; of one alone there is no less."""
    counts = (case.groups - 1, case.groups + 1) if case.groups > 1 else ()
    inputs, outputs = case.C // case.groups, case.O // case.groups
    return [{"C": g * inputs, "O": g * outputs, "groups": g} for g in counts]


AXES: dict[str, Callable[[ConvCase], list[Change]]] = {
    "batch": _by_one("N"),
    "source channels": _by_groups("C"),
    "target channels": _by_groups("O"),
    "height": _by_one("H"),
    "width": _by_one("W"),
    "kernel": _kernel,
    "stride": _both_by_one("stride"),
    "padding": _both_by_one("padding"),
    "dilation": _dilation,
    "groups": _groups,
    "number of groups": _same_groups,
}
"""What neighbours differ in."""
