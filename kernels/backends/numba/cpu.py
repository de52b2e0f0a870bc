"""The machine that Numba compiles for (its own choice, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES)."""

from __future__ import annotations

from numba.core.registry import cpu_target


def codegen_target() -> tuple[str, ...]:
    """Triple, CPU name and CPU features."""
    return tuple(cpu_target.target_context.codegen().magic_tuple())


def _register_bytes(features: list[str]) -> int:
    if "+avx512f" in features:
        return 64
    return 32 if "+avx2" in features and "+fma" in features else 16


REGISTER_BYTES = _register_bytes(codegen_target()[2].split(","))
"""Width of a vector register."""

BUNDLE = 4
"""Registers of a bundle: with four sums side by side an addition need not wait for the last."""

FUSED_MULTIPLY_ADD = REGISTER_BYTES > 16 or codegen_target()[0].startswith("aarch64")
"""Whether one instruction multiplies and adds; where none does, ``llvm.fma`` is a library call."""
