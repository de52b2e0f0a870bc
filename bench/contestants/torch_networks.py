"""Models of ``cnn`` as PyTorch modules, whose states have the same names."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch

import cnn
from cnn.layers import Layer

nn = torch.nn


@singledispatch
def network(layer: Layer) -> Any:
    """Return a layer, or a whole model, as a module with weights of its own.

    Raises
    ------
    TypeError
        If it holds a layer that has no counterpart here.
    """
    raise TypeError(f"no PyTorch module is known for {type(layer).__name__}")


def with_state(model: cnn.Sequential) -> Any:
    """Return a model as a module with copies of its weights and running statistics."""
    module = network(model)
    first = next(iter(model.parameters()))
    module = module.to(torch.from_numpy(first.data).dtype)
    module.load_state_dict({name: torch.from_numpy(a) for name, a in model.state_dict().items()})
    return module


class Residual(torch.nn.Module):  # type: ignore[misc]  # mypy does not see torch
    """``body(x) + shortcut(x)``."""

    def __init__(self, body: Any, shortcut: Any | None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


class PaddedShortcut(torch.nn.Module):  # type: ignore[misc]
    """Every ``stride``-th pixel, with channels of zeros behind the others."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added, self.stride = added, stride

    def forward(self, x: Any) -> Any:
        """Return the smaller image."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(kept, (0, 0, 0, 0, 0, self.added))


@network.register
def _(layer: cnn.Sequential) -> Any:
    return nn.Sequential(*map(network, layer.layers))


@network.register
def _(layer: cnn.Residual) -> Any:
    return Residual(network(layer.body), layer.shortcut and network(layer.shortcut))


@network.register
def _(layer: cnn.PaddedShortcut) -> Any:
    return PaddedShortcut(layer.out_channels - layer.in_channels, layer.stride)


@network.register
def _(layer: cnn.Conv2d) -> Any:
    O, in_group, KH, KW = layer.weight.data.shape
    window = (layer.stride, layer.padding, layer.dilation)
    has_bias = layer.bias is not None
    return nn.Conv2d(in_group * layer.groups, O, (KH, KW), *window, layer.groups, has_bias)


@network.register
def _(layer: cnn.BatchNorm2d) -> Any:
    return nn.BatchNorm2d(len(layer.weight.data), layer.eps, layer.momentum)


@network.register
def _(layer: cnn.BatchNorm1d) -> Any:
    return nn.BatchNorm1d(len(layer.weight.data), layer.eps, layer.momentum)


@network.register
def _(layer: cnn.Linear) -> Any:
    O, I = layer.weight.data.shape
    return nn.Linear(I, O, layer.bias is not None)


@network.register
def _(layer: cnn.MaxPool2d) -> Any:
    return nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding)


@network.register
def _(layer: cnn.AvgPool2d) -> Any:
    return nn.AvgPool2d(
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.ceil_mode,
        layer.count_include_pad,
        layer.divisor_override,
    )


@network.register
def _(layer: cnn.GlobalAvgPool2d) -> Any:
    return nn.AdaptiveAvgPool2d(1)


@network.register
def _(layer: cnn.ReLU) -> Any:
    return nn.ReLU()


@network.register
def _(layer: cnn.Flatten) -> Any:
    return nn.Flatten()
