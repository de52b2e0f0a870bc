"""Backends with faults, to see that a check finds them."""

from __future__ import annotations

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
