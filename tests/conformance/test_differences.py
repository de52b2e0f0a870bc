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
    """The same call of PyTorch and of ours; ``parted`` says whether they differ as they should.

    ``backends`` are those that differ, None for all; the others may not.
    """

    reason: str
    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    parted: Callable[[Any, Any], bool]
    backends: tuple[str, ...] | None = None


def _refused(outcome: Any) -> bool:
    return isinstance(outcome, Exception)


def _only_theirs_refused(theirs: Any, ours: Any) -> bool:
    return _refused(theirs) and not _refused(ours)


def _only_ours_refused(theirs: Any, ours: Any) -> bool:
    return _refused(ours) and not _refused(theirs)


def _with_one_infinity() -> tuple[Any, Any]:
    """Return so many channels and pixels that the numba backend takes Winograd's algorithm."""
    x, weight = np.ones((2, 32, 24, 24), np.float32), np.ones((32, 32, 3, 3), np.float32)
    x[1, 5, 9, 9] = np.inf
    return x, weight


def _spread_over_the_tile_only(theirs: Any, ours: Any) -> bool:
    """Nothing infinite becomes finite, and no pixel outside the 4×4 tile becomes infinite."""
    wanted, got = (~np.isfinite(np.asarray(y)) for y in (theirs, ours))
    tile = np.zeros_like(wanted)
    tile[1, :, 8:12, 8:12] = True
    return bool((got >= wanted).all() and (got > wanted).any() and not got[~tile].any())


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
    "infinity under a tile of Winograd's": Difference(
        "sums of the whole 4×4 tile go through it: NaN or infinity spreads over the tile, and an "
        "infinity may become NaN (inf - inf); neither vanishes. CNN_KERNELS_WINOGRAD=0 confines it",
        lambda: F.conv2d(*map(torch.from_numpy, _with_one_infinity()), padding=1),
        lambda: kernels.conv2d(*_with_one_infinity(), padding=1),
        _spread_over_the_tile_only,
        backends=("numba",),
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
        expected = difference.backends is None or backend in difference.backends
        parted = difference.parted(theirs, ours)
        assert parted == expected, f"{difference.reason}: {theirs!r} and {ours!r}"
