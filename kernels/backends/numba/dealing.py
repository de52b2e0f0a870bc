"""Channels of a vector of groups, dealt out as they are loaded, put together as they are stored.

In memory a group's few channels lie side by side. In vectors, each lane of which is a group, the
first channels of all groups are one vector, their second ones another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.jit import inlined
from kernels.backends.numba.vector import (
    dealt,
    gathered,
    lanes,
    load,
    load_first,
    repeat,
    replaced,
    store,
    store_first,
    zeros,
)


def make_load(channels: int, *, whole: bool) -> Callable[..., Any]:
    """Make what loads ``channels`` vectors: those of ``valid`` groups, or of a whole vector."""

    @inlined
    def load_groups(source, place, valid):
        width, vectors = lanes(source), repeat(zeros(source), channels)
        for i in range(channels):
            at = place + i * width
            count = min(width, max(0, valid * channels - i * width))
            value = load(source, at) if whole else load_first(source, at, count)
            vectors = replaced(vectors, i, value)
        return dealt(vectors)

    return load_groups


def make_store(channels: int, *, whole: bool) -> Callable[..., Any]:
    """Make what stores those that begin with number ``first``."""

    @inlined
    def store_groups(target, place, vectors, first, valid):
        width, own = lanes(target), repeat(zeros(target), channels)
        for i in range(channels):
            own = replaced(own, i, vectors[first + i])
        own = gathered(own)
        for i in range(channels):
            at = place + i * width
            if whole:
                store(target, at, own[i])
            else:
                count = min(width, max(0, valid * channels - i * width))
                store_first(target, at, own[i], count)

    return store_groups
