"""Deliberate differences from PyTorch: each has a name, a reason, and ends when it is gone.

In every one PyTorch and we part on the same arguments, as the design says we do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import kernels
from tests.conformance.tally import Tally

SUITE = "deliberate differences from PyTorch"
F = torch.nn.functional
X = np.arange(16.0).reshape(1, 1, 4, 4)


@dataclass(frozen=True)
class Difference:
    """The same call of PyTorch and of ours; ``parted`` says whether they differ as they should."""

    reason: str
    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    parted: Callable[[Any, Any], bool]


def _refused(outcome: Any) -> bool:
    return isinstance(outcome, Exception)


def _only_theirs_refused(theirs: Any, ours: Any) -> bool:
    return _refused(theirs) and not _refused(ours)


def _only_ours_refused(theirs: Any, ours: Any) -> bool:
    return _refused(ours) and not _refused(theirs)


DIFFERENCES = {
    "padding of more than half a pooling window": Difference(
        "ONNX's own tests pad up to the window; PyTorch refuses more than half",
        lambda: F.max_pool2d(torch.from_numpy(X), 3, padding=2),
        lambda: kernels.max_pool2d(X, 3, padding=2),
        _only_theirs_refused,
    ),
    "uneven padding": Difference(
        "ONNX has it; PyTorch needs a padded copy",
        lambda: F.conv2d(torch.from_numpy(X), torch.ones(1, 1, 2, 2), padding=((0, 1), (1, 0))),
        lambda: kernels.conv2d(X, np.ones((1, 1, 2, 2)), padding=((0, 1), (1, 0))),
        _only_theirs_refused,
    ),
    "labels of small integer types": Difference(
        "data sets store classes in 8 or 16 bits; PyTorch wants 64",
        lambda: F.cross_entropy(torch.ones(1, 3), torch.ones(1, dtype=torch.int16)),
        lambda: kernels.softmax_cross_entropy(np.ones((1, 3)), np.ones(1, np.int16)),
        _only_theirs_refused,
    ),
    "indices of 32 bits": Difference(
        "half the memory traffic; a plane of more elements is refused",
        lambda: F.max_pool2d(torch.from_numpy(X), 2, return_indices=True)[1].numpy().dtype,
        lambda: kernels.max_pool2d(X, 2).indices.dtype,
        lambda theirs, ours: (theirs, ours) == (np.int64, np.int32),
    ),
    "the loss of an empty batch": Difference(
        "a mean of nothing is a mistake of the caller's; PyTorch returns NaN",
        lambda: F.cross_entropy(torch.ones(0, 3), torch.ones(0, dtype=torch.int64)),
        lambda: kernels.softmax_cross_entropy(np.ones((0, 3)), np.ones(0, np.int64)),
        _only_ours_refused,
    ),
    "softmax over no classes": Difference(
        "a row of probabilities sums to 1; PyTorch returns nothing",
        lambda: F.softmax(torch.ones(2, 0), 1),
        lambda: kernels.softmax(np.ones((2, 0))),
        _only_ours_refused,
    ),
}


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (RuntimeError, TypeError, ValueError) as error:
        return error


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_difference_is_still_there(name: str, backend: str, tally: Tally) -> None:
    difference = DIFFERENCES[name]
    theirs, ours = _outcome(difference.theirs), _outcome(difference.ours)
    with tally.case(SUITE, backend):
        assert difference.parted(theirs, ours), f"{difference.reason}: {theirs!r} and {ours!r}"
