"""What makes two training runs the same, in a form that JSON keeps."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn.arrays import AnyArray
from cnn.layers import Layer
from cnn.layers.composite import Composite

if TYPE_CHECKING:
    from cnn.fitting import Fit, Labelled


def settings_of(fit: Fit) -> dict[str, Any]:
    """Describe all that a run's result depends on, but for the backend and the versions."""
    trainer = fit.trainer
    described = {
        "model": describe_layer(trainer.model),
        "optimizer": trainer.optimizer.describe() | {"lr": fit.peak},
        "schedule": trainer.schedule.describe(),
        "steps": fit.steps if trainer.schedule.needs_total else None,
        "clip_norm": trainer.clip_norm,
        "batch_size": fit.batch_size,
        "seed": trainer.seed,
        "augment": _describe_callable(fit.augment),
        "train": fingerprint(fit.train),
        "validation": None if fit.validation is None else fingerprint(fit.validation),
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))  # tuples become lists, as on disk
    return plain


def describe_layer(layer: Layer) -> dict[str, Any]:
    """Describe a layer by its class, public settings, and parts or arrays."""
    described: dict[str, Any] = {"layer": type(layer).__name__}
    if isinstance(layer, Composite):
        parts = layer.named_children().items()
        return described | {name: describe_layer(part) for name, part in parts}
    described |= {
        name: value
        for name, value in vars(layer).items()
        if not name.startswith("_") and isinstance(value, bool | int | float | str | tuple)
    }
    return described | {
        name: f"{array.dtype} {array.shape}" for name, array in layer.arrays().items()
    }


def fingerprint(data: Labelled) -> dict[str, Any]:
    """Describe data by their shape and a checksum."""
    x, y = data
    checksum = 0
    for start in range(0, len(x), 1024):  # so that no copy of all is made for odd layouts
        checksum = zlib.crc32(_bytes(x[start : start + 1024]), checksum)
    return {
        "shape": x.shape,
        "dtype": str(x.dtype),
        "crc32": zlib.crc32(_bytes(y.astype(np.int64)), checksum),
    }


def first_difference(saved: Any, now: Any, where: str = "") -> str | None:
    """Say in words where two descriptions differ first, or return None."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in [*saved, *(key for key in now if key not in saved)]:
            found = first_difference(saved.get(key), now.get(key), f"{where} {key}".strip())
            if found:
                return found
        return None
    return None if saved == now else f"{where} was {_short(saved)}, now {_short(now)}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name") or value.get("layer") or value)
    return "none" if value is None else str(value)


def _describe_callable(augment: Any) -> Any:
    if augment is None:
        return None
    if hasattr(augment, "describe"):
        return augment.describe()
    return getattr(augment, "__qualname__", type(augment).__qualname__)


def _bytes(array: AnyArray) -> memoryview:
    return np.ascontiguousarray(array).data
