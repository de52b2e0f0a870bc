"""Damage to files: what a bad disk, a broken transfer or a fuzzer would leave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np


def mutations(whole: bytes, count: int, header: int = 64) -> Iterator[bytes]:
    """Yield ``count`` damaged versions of a file, the same ones each time.

    Half of them are damaged in the first ``header`` bytes, which say what the rest means.
    """
    rng = np.random.default_rng(len(whole))
    kinds = itertools.cycle((_cut_off, _flipped, _overwritten, _bytes_lost, _bytes_added))
    for number in range(count):
        limit = min(header, len(whole)) if number % 2 else len(whole)
        damaged = whole
        while damaged == whole:
            damaged = next(kinds)(whole, int(rng.integers(limit)), rng)
        yield damaged


def _cut_off(whole: bytes, place: int, rng: np.random.Generator) -> bytes:
    return whole[:place]


def _flipped(whole: bytes, place: int, rng: np.random.Generator) -> bytes:
    bit = 1 << int(rng.integers(8))
    return whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]


def _overwritten(whole: bytes, place: int, rng: np.random.Generator) -> bytes:
    new = rng.choice([bytes(8), b"\xff" * 8, rng.bytes(8)])
    return whole[:place] + new + whole[place + len(new) :]


def _bytes_lost(whole: bytes, place: int, rng: np.random.Generator) -> bytes:
    return whole[:place] + whole[place + int(rng.integers(1, 9)) :]


def _bytes_added(whole: bytes, place: int, rng: np.random.Generator) -> bytes:
    return whole[:place] + rng.bytes(int(rng.integers(1, 9))) + whole[place:]
