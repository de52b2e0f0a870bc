"""One axis of a convolution, in either direction, as a gathering of source pixels.

A target pixel is a sum over window taps of source pixels. Forward, target pixel i takes source
pixel ``i·stride + q``; backward to the input, the target pixels fall into ``stride`` phases, and
pixel i of a phase takes source pixel ``i + q`` for just those taps whose shift divides by the
stride. So nothing is multiplied by the zeros of a dilated gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.geometry import Axis


@dataclass(frozen=True, slots=True)
class Phase:
    """Target pixels that take the same taps: ``(tap, source pixel of the first of them)``."""

    first: int
    taps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """One axis: target pixel i of a phase takes source pixel ``i·source_step + q``.

    Where ``together`` pixels are computed as one, i counts these.
    """

    target_size: int
    source_size: int
    target_step: int
    source_step: int
    phases: tuple[Phase, ...]
    together: int = 1

    @property
    def low(self) -> int:
        """Source pixel at the first place of the scratch buffer."""
        return min((q for phase in self.phases for _, q in phase.taps), default=0)

    @property
    def inside(self) -> bool:
        """Whether all source pixels that are taken are there: nothing is taken from the padding."""
        return self.low >= 0 and self.low + self.scratch(self.target_size) <= self.source_size

    def scratch(self, targets: int) -> int:
        """Length of the scratch buffer that the first ``targets`` target pixels need."""
        last = (
            (self.count(phase, targets) - 1) * self.source_step + max(q for _, q in phase.taps)
            for phase in self.phases
            if phase.taps and self.count(phase, targets)
        )
        return max(last, default=self.low) - self.low + 1

    @property
    def gathered(self) -> int:
        """Number of target pixels that take a tap at all."""
        return sum(self.together * self.count(p, self.target_size) for p in self.phases if p.taps)

    def count(self, phase: Phase, targets: int) -> int:
        """How many of the first ``targets`` target pixels are of the phase."""
        return max(0, (targets - phase.first - self.together) // self.target_step + 1)


def forward_gather(axis: Axis) -> Gather:
    """Gather outputs from inputs."""
    taps = tuple((k, k * axis.dilation - axis.before) for k in range(axis.kernel))
    return Gather(axis.outputs, axis.size, 1, axis.stride, (Phase(0, taps),))


def backward_gather(axis: Axis) -> Gather:
    """Gather gradients of inputs from gradients of outputs; each phase's taps by source pixel."""
    phases = []
    for first in range(min(axis.stride, axis.size)):
        shifts = [(k, first + axis.before - k * axis.dilation) for k in range(axis.kernel)]
        taps = [(k, shift // axis.stride) for k, shift in shifts if not shift % axis.stride]
        phases.append(Phase(first, tuple(reversed(taps))))
    return Gather(axis.size, axis.outputs, axis.stride, 1, tuple(phases))


def backward_gather_by_pixel(axis: Axis) -> Gather:
    """Gather the same with a phase for each pixel, of the taps alone that reach an output."""
    phases = []
    for pixel in range(axis.size):
        shifts = [(k, pixel + axis.before - k * axis.dilation) for k in range(axis.kernel)]
        taps = [(k, shift // axis.stride) for k, shift in shifts if not shift % axis.stride]
        inside = [(k, output) for k, output in taps if 0 <= output < axis.outputs]
        phases.append(Phase(pixel, tuple(reversed(inside))))
    return Gather(axis.size, axis.outputs, axis.size, 1, tuple(phases))
