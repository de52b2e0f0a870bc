"""The least time that a pass can take on a machine, by what was measured there."""

from __future__ import annotations

from dataclasses import dataclass

from bench.case_types import ConvCase
from bench.roofline import Roofline
from bench.roofline import best as best_roofline


@dataclass(frozen=True)
class Limits:
    """10⁹ operations a second, bytes a second, and the seconds of a call with nothing to do."""

    gflops: float
    roofline: Roofline
    call_seconds: float

    def best(self, other: Limits) -> Limits:
        """Return the limits of two measurements, one of which may have been disturbed."""
        return Limits(
            max(self.gflops, other.gflops),
            best_roofline(self.roofline, other.roofline),
            min(self.call_seconds, other.call_seconds),
        )

    def least_seconds(self, case: ConvCase, name: str) -> float:
        """Return what a pass must take: a call, and its multiply-adds or its bytes."""
        computing = case.flops(name) / self.gflops
        moving = case.bytes(name) / self._bandwidth(case.bytes(name))
        return self.call_seconds + max(computing, moving) / 1e9

    def _bandwidth(self, working_set: int) -> float:
        """Return the GB/s of the next smaller working set that was measured: never too few."""
        limits = self.roofline["bandwidth"]
        at_most = [limit for limit in limits if limit["working_set"] <= working_set]
        return (at_most or limits)[-1 if at_most else 0]["gb_per_second"]
