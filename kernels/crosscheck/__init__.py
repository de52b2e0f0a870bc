"""The cross-check: any backend against the naive reference, on drawn cases.

``operations`` and ``fused`` say how each operation is drawn, ``limits`` how far it may be off,
``drawing`` draws arguments, ``running`` compares and reports, ``command`` is ``python -m kernels
check``.
"""

from kernels.crosscheck.running import CheckReport, OperationReport, check_backend

__all__ = ["CheckReport", "OperationReport", "check_backend"]
