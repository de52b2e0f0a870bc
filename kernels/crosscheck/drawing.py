"""Random arguments: small shapes that reach every branch, all kinds of values and layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.geometry import output_size

LARGE_ONE_IN = 40
"""One case in so many is large enough to keep several threads busy at once."""


WIDE_ONE_IN = 100
"""One case in so many is so wide that a backend has to cut it into several blocks."""

TILED_ONE_IN = 24
"""One convolution in so many is 3×3 with so many channels and pixels that Winograd's algorithm pays
in a backend that has it."""


class Draw:
    """A source of random arguments; the same seeds draw the same case again.

    Parameters
    ----------
    *seeds : int
        Of the case.
    dtype : str, optional
        What is drawn in, rather than float32 or float64 at random.
    """

    def __init__(self, *seeds: int, dtype: str | None = None) -> None:
        self._rng = np.random.default_rng(seeds)
        random_dtype = self.choice("float32", "float64")
        self.dtype = np.dtype(dtype or random_dtype)
        self.large = self.chance(1 / LARGE_ONE_IN)
        self.wide = self.chance(1 / WIDE_ONE_IN)

    def integer(self, low: int, high: int) -> int:
        """Return an integer from low to high, both included."""
        return int(self._rng.integers(low, high + 1))

    def choice(self, *options: Any) -> Any:
        """Return one of the options."""
        return options[self.integer(0, len(options) - 1)]

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self._rng.random() < probability)

    def batch(self, least: int = 0) -> int:
        """Return a number of images: mostly 1 to 3, now and then 0, and many in a large case."""
        if self.large:
            return self.integer(8, 20)
        return least if self.chance(0.05) else self.integer(max(1, least), 3)

    def channels(self) -> int:
        """Return a number of channels: small, or around the width of a vector."""
        return self.integer(1, 5) if self.chance(0.8) else self.choice(7, 8, 9, 15, 16, 17, 33)

    def values(self, *shape: int) -> FloatArray:
        """Return values in a random memory layout: normally distributed, now and then all alike."""
        if self.chance(0.1):
            return self.laid_out(np.full(shape, 0.1, self.dtype))
        return self.laid_out(np.asarray(self._rng.standard_normal(shape), self.dtype))

    def lattice(self, *shape: int) -> FloatArray:
        """Return multiples of 1/4 up to about 3: a few sums and products of them are exact."""
        quarters = np.rint(4 * self._rng.standard_normal(shape))
        return self.laid_out(np.asarray(quarters / 4, self.dtype))

    def ties(self, *shape: int) -> FloatArray:
        """Return few different values, so that maxima tie; now and then NaN and infinities."""
        values = np.asarray(self._rng.integers(-2, 3, shape), self.dtype)
        if self.chance(0.3):
            for special in (np.nan, -np.inf, np.inf):
                values[self._rng.random(shape) < 0.2] = special
        return self.laid_out(values)

    def positive(self, *shape: int) -> FloatArray:
        """Return values from 0.1 to 2."""
        return self.laid_out(self._rng.uniform(0.1, 2.0, shape).astype(self.dtype))

    def logits(self, least: int) -> NDArray[Any]:
        """Return scores of ``least`` samples or more, up to some hundreds."""
        logits = self.values(self.batch(least), self.choice(self.integer(1, 12), 33))
        return self.laid_out(logits * logits.dtype.type(self.choice(1, 30, 300)))

    def labels(self, rows: int, classes: int) -> NDArray[Any]:
        """Return class labels of a random integer dtype."""
        dtype = self.choice("uint8", "int16", "int32", "int64", "uint64")
        return self.laid_out(self._rng.integers(0, classes, rows).astype(dtype))

    def laid_out(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the same values in a random memory layout, read-only now and then."""
        laid_out: NDArray[Any] = self.choice(*LAYOUTS)(array) if array.ndim else array.copy()
        if self.chance(0.2):
            laid_out.flags.writeable = False
        return laid_out


def _contiguous(array: NDArray[Any]) -> NDArray[Any]:
    return array.copy(order="C")


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim < 3:
        return array.copy(order="C")
    return np.moveaxis(np.moveaxis(array, 1, -1).copy(order="C"), -1, 1)


def _fortran(array: NDArray[Any]) -> NDArray[Any]:
    return array.copy(order="F")


def _spread(array: NDArray[Any]) -> NDArray[Any]:
    """Return every second element of a larger array."""
    larger = np.ones([2 * size for size in array.shape], array.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _reversed(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view with negative strides."""
    return np.flip(np.flip(array).copy(order="C"))


LAYOUTS: tuple[Callable[[NDArray[Any]], NDArray[Any]], ...] = (
    _contiguous,
    _channels_last,
    _fortran,
    _spread,
    _reversed,
)


@dataclass(frozen=True)
class Window:
    """A drawn window on one axis; it fits the image."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    ceil_mode: bool

    @property
    def outputs(self) -> int:
        """Window positions."""
        return output_size(
            self.size,
            self.kernel,
            self.stride,
            self.dilation,
            self.before,
            self.after,
            self.ceil_mode,
        )


def wide_window(draw: Draw, size: int) -> Window:
    """Draw a small window on a long axis."""
    before, after = draw.integer(0, 1), draw.integer(0, 1)
    return Window(size, draw.integer(1, 2), 1, 1, before, after, False)


MANY_IMAGES = 8
"""Small ones, of which a backend may do several together."""


def tiled_window(draw: Draw, images: int) -> Window:
    """Draw a window of 3 on an axis of a few tiles of 4 outputs, whole and cut off."""
    before, after = draw.choice((0, 0), (1, 1), (2, 2), (0, 2), (3, 1))
    size = draw.integer(13, 17) if images < MANY_IMAGES else draw.integer(9, 10)
    return Window(size - before - after, 3, 1, 1, before, after, False)


def tiled_sizes(draw: Draw) -> tuple[int, int, int, int]:
    """Draw the images, groups and channels to go with it."""
    images = draw.choice(1, 2, MANY_IMAGES)
    channels = (16, 24, 31, 32, 33) if images < MANY_IMAGES else (24, 32, 33)
    return images, 1, draw.choice(*channels), draw.choice(*channels)


def draw_window(
    draw: Draw, *, dilated: bool, ceil_mode: bool, padding_below_kernel: bool
) -> Window:
    """Draw a window on one axis; for pooling, one whose every position touches the image."""
    while True:
        kernel = draw.integer(1, 4)
        dilation = draw.integer(1, 3) if dilated and draw.chance(0.4) else 1
        span = dilation * (kernel - 1) + 1
        most = span - 1 if padding_below_kernel else draw.choice(span, 12)
        before = draw.integer(0, most) if draw.chance(0.6) else 0
        after = before if draw.chance(0.5) else draw.integer(0, most)
        window = Window(
            size=draw.integer(1, 14 if draw.large else 7),
            kernel=kernel,
            stride=draw.choice(1, 2, 3, 4, 30) if draw.chance(0.6) else 1,
            dilation=dilation,
            before=before,
            after=after,
            ceil_mode=ceil_mode,
        )
        fits = window.size + before + after >= span
        if fits and (not padding_below_kernel or _touches(window)):
            return window


def _touches(window: Window) -> bool:
    return all(
        any(
            0 <= i * window.stride + k * window.dilation - window.before < window.size
            for k in range(window.kernel)
        )
        for i in range(window.outputs)
    )
