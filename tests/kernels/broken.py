"""Backends with faults, to see that a check finds them."""

from __future__ import annotations

import functools
import types

from kernels.backends import contract
from kernels.backends import numpy as numpy_backend


def broken(**replaced) -> types.ModuleType:
    """Return the numpy backend with some functions replaced; with its fused ones if one of them."""
    module = types.ModuleType("broken")
    fused = contract.fused_operations()
    for operation in contract.operations() + (fused if set(fused) & set(replaced) else ()):
        setattr(module, operation, replaced.get(operation, getattr(numpy_backend, operation)))
    return module


def fusing() -> types.ModuleType:
    """Return the numpy backend as one that gains by its fused operations, for all one can see."""
    module = broken(**{name: getattr(numpy_backend, name) for name in contract.fused_operations()})
    for name in contract.fused_operations():
        operation = getattr(numpy_backend, name)
        setattr(module, name, functools.wraps(operation)(functools.partial(operation)))
    return module
