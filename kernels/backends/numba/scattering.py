"""Gradients to the elements that won: max-pooling backwards.

The indices say where each gradient goes, but not which windows they came from. Windows that lie
side by side are tried first: then each element of the image is a gradient or 0, written once,
vector by vector. If an index lies elsewhere, the image is done again element by element.
"""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import integers32_at
from kernels.backends.numba.jit import serial
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    at_address,
    either,
    equal,
    everywhere,
    lanes,
    load,
    load_integers,
    select,
    splat,
    store,
    zeros,
)

SMALL = 32768
"""Elements of the images up to which one thread does the work."""

MOST_TAPS = 16
"""Largest window that is tried: each tap costs a comparison."""

N_, C_, H_, W_, POOLED_H, POOLED_W, TASKS, PLACES, GRAD, OUT = range(10)


def scatter_images(
    grad: FloatArray,
    places: IntArray,
    out: FloatArray,
    shape: tuple[int, ...],
    pooled_shape: tuple[int, ...],
) -> None:
    """Write zeros, and add each of flat ``grad`` at its place in its plane."""
    N, C, H, W = shape
    tasks = N if out.size > SMALL else min(N, 1)
    entries = (N, C, H, W, *pooled_shape[2:], tasks, places, grad, out)
    run([Phase(SCATTER, tasks, tasks)], entries, out)


def _scatter(work, call, task):
    N, C, H, W, OH, OW = call[N_], call[C_], call[H_], call[W_], call[POOLED_H], call[POOLED_W]
    grad, out = at_address(work, call[GRAD]), at_address(work, call[OUT])
    places, tasks = integers32_at(call[PLACES], 0), call[TASKS]
    for n in range(task * N // tasks, (task + 1) * N // tasks):
        done = C % lanes(out) == 0 and OH > 0 and OW > 0
        if done:
            done = _windows_side_by_side(grad, places, out, n, C, H, W, OH, OW)
        if not done:
            _one_by_one(grad, places, out, n * H * W * C, n * OH * OW * C, C, H * W, OH * OW)


@serial
def _windows_side_by_side(grad, places, out, n, C, H, W, OH, OW):
    """Return whether each gradient had its place in its part of the image, and so was written."""
    KH, KW = H // OH, W // OW
    if KH * KW > MOST_TAPS or KH * KW == 0:
        return False
    for i in range(OH):
        h_end = H if i == OH - 1 else (i + 1) * KH
        for j in range(OW):
            w_end = W if j == OW - 1 else (j + 1) * KW
            source = ((n * OH + i) * OW + j) * C
            for c in range(0, C, lanes(out)):
                g = load(grad, source + c)
                place = load_integers(places, source + c, g)
                found = equal(place, splat(g, np.int32(-1)))
                for h in range(i * KH, h_end):
                    pixel = h * W + j * KW
                    to = (n * H * W + pixel) * C + c
                    for _ in range(w_end - j * KW):
                        here = equal(place, splat(g, np.int32(pixel)))
                        found = either(found, here)
                        store(out, to, select(here, g, zeros(out)))
                        pixel, to = pixel + 1, to + C
                if not everywhere(found):
                    return False
    return True


@serial
def _one_by_one(grad, places, out, image, pooled, C, plane, windows):
    """Clear the image just ahead of the gradients, while it is in the cache."""
    cleared = 0
    for window in range(windows):
        source = pooled + window * C
        for c in range(C):
            place = places[source + c]
            if place >= cleared:
                clear(out, image + cleared * C, (place + 1 - cleared) * C)
                cleared = place + 1
            out[image + place * C + c] += grad[source + c]
    clear(out, image + cleared * C, (plane - cleared) * C)


SCATTER = Task(_scatter)
