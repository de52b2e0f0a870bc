"""Output sizes and padding rules, by literals."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels.geometry import output_size

# size, kernel, stride, dilation, before, after, ceil_mode -> outputs
SIZES = [
    ((5, 3, 1, 1, 0, 0, False), 3),
    ((5, 3, 2, 1, 0, 0, False), 2),
    ((6, 3, 2, 1, 0, 0, False), 2),
    ((6, 3, 2, 1, 0, 0, True), 3),
    ((5, 3, 1, 1, 1, 1, False), 5),
    ((5, 3, 1, 2, 0, 0, False), 1),
    ((28, 2, 2, 1, 0, 0, False), 14),
    ((224, 7, 2, 1, 3, 3, False), 112),
    ((112, 3, 2, 1, 1, 1, True), 57),
    ((4, 2, 2, 1, 1, 1, True), 3),
    ((3, 2, 2, 1, 1, 1, True), 2),  # the third window would start in the padding at the end
    ((2, 3, 1, 1, 0, 0, False), 0),
]


@pytest.mark.parametrize(("window", "outputs"), SIZES, ids=str)
def test_output_size(window, outputs):
    assert output_size(*window) == outputs


# padding, stride, kernel, image size -> (before, after)
NAMED = [
    ("valid", 1, 3, 5, (0, 0)),
    ("same", 1, 3, 5, (1, 1)),
    ("same", 1, 4, 5, (1, 2)),
    ("same_upper", 2, 3, 5, (1, 1)),
    ("same_upper", 2, 3, 6, (0, 1)),
    ("same_lower", 2, 3, 6, (1, 0)),
    ("same_upper", 3, 2, 7, (0, 1)),
    ("same_upper", 4, 1, 6, (0, 0)),
]


@pytest.mark.parametrize(("padding", "stride", "kernel", "size", "pads"), NAMED, ids=str)
def test_named_padding_is_the_explicit_one(padding, stride, kernel, size, pads):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 2, size, size)), rng.standard_normal((3, 2, kernel, kernel))
    with kernels.use_backend("naive"):
        named = kernels.conv2d(x, weight, stride=stride, padding=padding)
        explicit = kernels.conv2d(x, weight, stride=stride, padding=(pads, pads))
    np.testing.assert_array_equal(named, explicit)
    if padding != "valid":
        assert named.shape[2] == -(-size // stride)
