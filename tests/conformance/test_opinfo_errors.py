"""Where PyTorch's own error samples are refused by PyTorch, we refuse them, in our own words.

A second fault of a sample is mended first (no batch axis, no channels, weights for other channels),
so that our message is about the same fault as PyTorch's.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import kernels
from tests.conformance.opinfo_adapter import ADAPTERS, one_or_two
from tests.conformance.tally import Tally
from tests.conformance.torch_values import array

SUITE = "PyTorch OpInfo error inputs"

FUNCTIONS = {
    "nn.functional.conv2d": kernels.conv2d,
    "nn.functional.max_pool2d": kernels.max_pool2d,
    "nn.functional.avg_pool2d": kernels.avg_pool2d,
}

PADDING_TOO_LARGE = "padding must be smaller than the window, which spans"
NO_PIXELS = "x must have 1 or more channels, rows and columns"
GROUPS_DO_NOT_DIVIDE = "groups must divide the channels of x and weight, 2 and 2; got 3"

MESSAGES = {
    "nn.functional.conv2d": (
        ("should be the same", "x must be of dtype float32 or float64, got int64"),
        ("should be the same", "bias must be of dtype float32 or float64, got complex128"),
        ("non-positive stride is not supported", "stride must be 1 or more, got -1"),
        ("negative padding is not supported", "padding must be 0 or more, got -1"),
        ("dilation should be greater than zero", "dilation must be 1 or more, got -1"),
        (
            "Expected 3-dimensional input for 3-dimensional weight",
            "weight must have 4 dimensions, got shape (1, 2, 2)",
        ),
        ("expected weight to be at least 3 at dimension 0", GROUPS_DO_NOT_DIVIDE),
        ("expected weight to be at least 3 at dimension 0", GROUPS_DO_NOT_DIVIDE),
        ("non-positive groups is not supported", "groups must be 1 or more, got -1"),
        ("non-positive groups is not supported", "groups must be 1 or more, got 0"),
    ),
    "nn.functional.max_pool2d": (
        ("pad must be non-negative", "padding must be 0 or more, got -1"),
        ("pad must be non-negative", "padding must be 0 or more, got -1"),
        ("pad should be at most half of effective kernel size", PADDING_TOO_LARGE),
        ("pad should be at most half of effective kernel size", PADDING_TOO_LARGE),
        (r"Expected 3D or 4D \(batch mode\) tensor with optional 0 dim", NO_PIXELS),
        (r"Expected 3D or 4D \(batch mode\) tensor with optional 0 dim", NO_PIXELS),
        ("Output size is too small", "the window must fit the padded image"),
    ),
    "nn.functional.avg_pool2d": (
        ("pad must be non-negative", "padding must be 0 or more, got -1"),
        ("pad must be non-negative", "padding must be 0 or more, got -1"),
        ("pad should be at most half of effective kernel size", PADDING_TOO_LARGE),
        ("pad should be at most half of effective kernel size", PADDING_TOO_LARGE),
        (
            "divisor must be not zero",
            "divisor_override must be an integer other than 0, got 0",
        ),
    ),
}


def _errors() -> dict[str, tuple[Any, list[Any]]]:
    return {
        op.name: (op, list(op.error_inputs("cpu")))
        for op in op_db
        if op.name in ADAPTERS and op.error_inputs_func
    }


ERRORS = _errors()


def test_every_error_input_is_listed() -> None:
    assert set(ERRORS) == set(MESSAGES)
    for name, (_, errors) in ERRORS.items():
        assert len(errors) == len(MESSAGES[name])
        for error, (theirs, _) in zip(errors, MESSAGES[name], strict=True):
            assert error.error_regex.startswith(theirs)


def _mended(sample: Any) -> tuple[list[Any], dict[str, Any]]:
    x, *others = (sample.input, *sample.args)
    if x.ndim == 3:
        x = x[None] if len(x) else torch.ones(1, 1, *x.shape[1:])
    if others and others[0].ndim == 4 and "groups" not in sample.kwargs:
        others[0] = others[0][:, : x.shape[1]]
    keywords = {
        name: one_or_two(value) for name, value in sample.kwargs.items() if name != "return_indices"
    }
    return [array(value) for value in (x, *others)], keywords


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name in MESSAGES for number in range(len(MESSAGES[name]))],
)
def test_error_input(name: str, number: int, backend: str, tally: Tally) -> None:
    op, errors = ERRORS[name]
    error, sample = errors[number], errors[number].sample_input
    with pytest.raises(error.error_type, match=error.error_regex):
        op.op(sample.input, *sample.args, **sample.kwargs)
    arguments, keywords = _mended(sample)
    with (
        tally.case(SUITE, backend),
        pytest.raises((kernels.ShapeError, TypeError), match=re.escape(MESSAGES[name][number][1])),
    ):
        FUNCTIONS[name](*arguments, **keywords)
