"""Batch-norm's running statistics, which ``cnn``'s layers keep, beside PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cnn
from kernels import tolerance
from tests.conformance.tally import Tally

SUITE = "PyTorch batch-norm, running statistics"
LAYERS = {2: cnn.BatchNorm1d, 3: cnn.BatchNorm1d, 4: cnn.BatchNorm2d}


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(3, 2), (3, 1), (5, 5, 5), (3, 2, 3, 4), (1, 2, 3, 3)])
def test_three_batches(
    shape: tuple[int, ...], momentum: float, dtype: str, backend: str, tally: Tally
) -> None:
    rng = np.random.default_rng(len(shape))
    C = shape[1]
    layer = LAYERS[len(shape)](C, momentum=momentum, dtype=dtype)
    mean, var = torch.zeros(C, dtype=torch.float64), torch.ones(C, dtype=torch.float64)
    with tally.case(SUITE, backend):
        for _ in range(3):
            x = rng.standard_normal(shape).astype(dtype)
            layer.forward(x, training=True)
            doubled = torch.from_numpy(x.astype(np.float64))
            torch.nn.functional.batch_norm(doubled, mean, var, training=True, momentum=momentum)
        for got, wanted in ((layer.running_mean, mean), (layer.running_var, var)):
            largest = 1 + 2 * abs(x).max() ** 2 + 0 * got
            error = abs(got.astype(np.float64) - wanted.numpy())
            assert (error <= tolerance.bound(largest, x.size // C)).all()
