"""Whole trainings, fused and layer by layer, beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cnn
from bench.contestants.torch_networks import with_state
from tests.cnn.networks import batch, build
from tests.conformance.tally import Tally

SUITE = "PyTorch, whole trainings"
STEPS, LR = 50, 0.05

TRAINED = ["mnist_cnn", "lenet5", "resnet20", "two_convolutions_added", "before_activation"]
TRAINED += ["pooled_convolutions", "pooled_twice"]


def torch_step(module: Any, optimizer: Any, x: np.ndarray, y: np.ndarray) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def trained(
    name: str, backend: str, fuse: bool, dtype: str
) -> tuple[cnn.Trainer, Any, Any, tuple[int, ...]]:
    model, image = build(name, dtype)
    module = with_state(model).train()
    trainer = cnn.Trainer(model, optimizer=cnn.optim.SGD(LR), backend=backend, fuse=fuse)
    return trainer, module, torch.optim.SGD(module.parameters(), LR), image


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", TRAINED)
def test_losses_and_gradients_in_float64(
    name: str, fuse: bool, fast_backend: str, tally: Tally
) -> None:
    """Losses of 50 steps to 1e-9, and every gradient of the first; then the running statistics."""
    trainer, module, optimizer, image = trained(name, fast_backend, fuse, "float64")
    with tally.case(SUITE, fast_backend):
        for step in range(STEPS):
            x, y = batch(image, 4, seed=step)
            loss = trainer.step(x, y)
            assert loss == pytest.approx(torch_step(module, optimizer, x, y), rel=0, abs=1e-9)
            if step == 0:
                wanted = dict(module.named_parameters())
                for key, parameter in trainer.model.named_parameters().items():
                    grad = wanted[key].grad.numpy()
                    np.testing.assert_allclose(parameter.grad, grad, rtol=0, atol=1e-9)
        for key, array in module.state_dict().items():
            np.testing.assert_allclose(trainer.model.state_dict()[key], array.numpy(), atol=1e-8)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_in_float32(name: str, fast_backend: str, tally: Tally) -> None:
    """Beside PyTorch in float64, within 2e-5 of each tensor's scale.

    A bias before batch-norm has no gradient, so no scale either: those are left out.
    """
    trainer, _, _, image = trained(name, fast_backend, True, "float32")
    doubled = with_state(trainer.model).double().train()
    x, y = batch(image, 6)
    x = x.astype("float32")
    torch.nn.functional.cross_entropy(
        doubled(torch.from_numpy(x.astype("float64"))), torch.from_numpy(y)
    ).backward()
    with tally.case(SUITE, fast_backend):
        trainer.step(x, y)
        for key, parameter in trainer.model.named_parameters().items():
            grad = dict(doubled.named_parameters())[key].grad.numpy()
            if abs(grad).max() > 1e-9:
                np.testing.assert_allclose(
                    parameter.grad, grad, rtol=0, atol=2e-5 * abs(grad).max(), err_msg=key
                )
