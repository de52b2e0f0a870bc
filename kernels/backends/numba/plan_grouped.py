"""When vectors reach across groups: convolutions of a few channels in each of many groups.

With 2 channels in and out of a group, a vector of target channels that all take the same source
channels is 2 lanes full, and an eighth of the multiply-adds are of use. Here each lane is a group:
working memory has the first channels of a vector of groups side by side, then their second ones,
and so on (``grouped``). 32 images of 64×28×28, 3×3 in 32 groups, on 2 threads of Zen 4: 18 GFLOP/s
in vectors within groups, 72 across them, and 58 if each channel is a group (``depthwise``). With as
many vectors as groups (4 channels in each of 4) both ways ran at 46, with half as many (4 in each
of 8) at 45 and 56.
"""

from __future__ import annotations

from kernels.backends.numba.grouped_kernel import TILE_ROWS

MOST_CHANNELS = 4
"""Channels of a group, in or out: each number of them is two functions to be compiled."""


def group_vectors(channels: int, targets: int, groups: int, lanes: int) -> int:
    """Return how many vectors the groups fill, 0 if there would be as many within groups.

    ``channels`` and ``targets`` are those of a group in source and target.
    """
    vectors = -(-groups // lanes)
    few = max(channels, targets) <= MOST_CHANNELS
    return vectors if groups > 1 and few and vectors * targets < groups else 0


def with_results(cut: dict[str, int], targets: int, lanes: int) -> dict[str, int]:
    """Return a cut with room for a tile's results, which are not yet in the target's order."""
    return cut | {
        "products_place": cut["work"],
        "work": cut["work"] + TILE_ROWS[0] * targets * lanes,
    }
