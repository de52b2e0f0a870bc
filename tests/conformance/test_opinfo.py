"""The samples that PyTorch tests its own operators with: results and every gradient.

In float64 and float32; PyTorch computes in float64 for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import cnn
from kernels import tolerance
from kernels.crosscheck.running import faults
from tests.conformance import opinfo_adapter
from tests.conformance.opinfo_exceptions import EXCLUSIONS, reason_for
from tests.conformance.tally import Tally
from tests.conformance.torch_values import array, gradients, leaf

SUITE = "PyTorch OpInfo samples"
OPERATORS = [op for op in op_db if op.name in opinfo_adapter.ADAPTERS]


def _samples() -> Iterator[Any]:
    for op in OPERATORS:
        for dtype in (torch.float32, torch.float64):
            torch.manual_seed(0)
            samples = op.sample_inputs("cpu", dtype, requires_grad=True)
            for number, sample in enumerate(samples):
                name = ".".join(filter(None, (op.name, op.variant_test_name)))
                yield pytest.param(op, sample, id=f"{name}-{str(dtype)[6:]}-{number}")


SAMPLES = list(_samples())

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # PyTorch's, of its speed


def _run(op: Any, sample: Any, backend: str) -> None:
    for call in opinfo_adapter.calls(op.name, op.op, sample):
        for _, fault in faults(call.operation, call.case, backend, call.reference):
            assert not fault, f"{call.operation}: {fault}; {sample.summary()}"


@pytest.mark.parametrize(("op", "sample"), SAMPLES)
def test_sample(op: Any, sample: Any, backend: str, tally: Tally) -> None:
    reason = reason_for(op.name, sample)
    tally.check(SUITE, backend, reason, lambda: _run(op, sample, backend))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_softmax(dtype: Any, backend: str, tally: Tally) -> None:
    """It is ``cnn.Softmax``'s: training takes the loss's."""
    (op,) = (op for op in OPERATORS if (op.name, op.variant_test_name) == ("softmax", ""))
    torch.manual_seed(0)
    for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
        if reason_for(op.name, sample) or sample.input.ndim != 2 or sample.args[0] == 0:
            continue
        with tally.case(SUITE, backend):
            source, layer = leaf(sample.input), cnn.Softmax()
            y = op(source, *sample.args)
            x = array(sample.input)
            grad_y = np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)
            layer.forward(x, training=True)
            got = layer.backward(grad_y)
            (wanted,) = map(array, gradients(y, [source], grad_y))
            largest = (1 + 2 * abs(x).max()) * abs(grad_y).max()
            error = abs(got.astype(np.float64) - wanted)
            assert (error <= tolerance.bound(largest * array(y).astype(x.dtype), x.shape[1])).all()


def test_every_exclusion_covers_a_sample() -> None:
    for exclusion in EXCLUSIONS:
        for operator in exclusion.operators:
            covered = [
                op
                for op, sample in (param.values for param in SAMPLES)
                if op.name == operator and exclusion.covers(sample)
            ]
            assert covered, f"{exclusion.reason}: no sample of {operator} any more"
