"""``python -m kernels doctor``: what the numba backend found here, and how it would compute."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from kernels.dispatch import resolve
from kernels.geometry import ConvGeometry
from kernels.ops import windows

BAD_INPUT = 2


def add_to(commands: Any) -> None:
    """Add ``doctor`` to the subparsers of ``python -m kernels``."""
    parser = commands.add_parser(
        "doctor",
        help="show what the numba backend found on this machine",
        description="Show CPU, vectors, threads, compiled code and measured peak of the numba "
        "backend, and with --conv and --weight the plan of a convolution.",
    )
    parser.add_argument("--conv", metavar="NxCxHxW", type=_sizes, help="shape of its input")
    parser.add_argument(
        "--weight", metavar="OxIxKHxKW", type=_sizes, help="shape of its filters; I is C / groups"
    )
    parser.add_argument("--stride", type=_sizes, default=(1,), help="1, or 2x1 (default: 1)")
    parser.add_argument("--padding", type=_padding, default=(0,), help="0, 2x1, or a name")
    parser.add_argument("--dilation", type=_sizes, default=(1,), help="1, or 2x1 (default: 1)")
    parser.add_argument("--groups", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.set_defaults(run=_examine)


def _examine(options: argparse.Namespace) -> int:
    try:
        resolve("numba")
        geometry = _geometry(options)
    except (ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    from kernels.backends.numba.diagnosis import sections

    for number, (title, lines) in enumerate(sections(geometry, np.dtype(options.dtype))):
        print("\n" * (number > 0) + title)
        for line in lines:
            print(f"  {line}", flush=True)
    return 0


def _geometry(options: argparse.Namespace) -> ConvGeometry | None:
    if options.conv is None and options.weight is None:
        return None
    if options.conv is None or options.weight is None:
        raise ValueError("--conv and --weight go together: the shapes of x and of the filters")
    window = (options.stride, options.padding, options.dilation)
    stride, padding, dilation = (v[0] if len(v) == 1 else v for v in window)
    return windows.convolution(
        options.conv, options.weight, stride, padding, dilation, options.groups
    )


def _sizes(text: str) -> tuple[int, ...]:
    """Return the integers of a text like 32x16x28x28."""
    parts = text.split("x")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"must be integers like 32x16x28x28, got {text!r}")
    return tuple(map(int, parts))


def _padding(text: str) -> tuple[Any, ...]:
    return _sizes(text) if text[:1].isdigit() else (text,)
