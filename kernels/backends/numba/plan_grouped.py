"""How vectors are filled where groups have few channels: across groups, or by joining them.

With 2 channels in and out of a group, a vector of target channels that all take the same source
channels is 2 lanes full, and an eighth of the multiply-adds are of use. Here each lane is a group:
working memory has the first channels of a vector of groups side by side, then their second ones,
and so on (``grouped``). 32 images of 64×28×28, 3×3 in 32 groups, on 2 threads of Zen 4: 18 GFLOP/s
in vectors within groups, 72 across them, and 58 if each channel is a group (``depthwise``). With as
many vectors as groups (4 channels in each of 4) both ways ran at 46, with half as many (4 in each
of 8) at 45 and 56.

Where the targets of all groups fit one vector, these are joined: the weights between them are zero.
That is as many multiply-adds of vectors as one group after the other, and neighbouring pixels can
share a vector, or Winograd's algorithm do it. 32 images of 4×56×56, 3×3 in 2 groups, on 2 threads
of Zen 5: 0.34 ms, now 0.14; 16×28×28 in 4 groups, not across them, 0.29 ms, now 0.18.

NaN and infinity spread over joined groups, since 0 · ∞ is NaN.
"""

from __future__ import annotations

from kernels.backends.numba.grouped_kernel import TILE_ROWS

MOST_CHANNELS = 4
"""Channels of a group, in or out: each number of them is two functions to be compiled."""

MOST_JOINED = 2.5
"""Groups for each of a group's target channels up to which joining them beats vectors across them.
5×5, 2 channels in and out: of 6 groups 1.23 of the time, of 8 1.58; 3 of 4 groups 0.59."""


def group_vectors(channels: int, targets: int, groups: int, lanes: int) -> int:
    """Return how many vectors the groups fill, 0 if there would be as many within groups.

    ``channels`` and ``targets`` are those of a group in source and target.
    """
    vectors = -(-groups // lanes)
    few = max(channels, targets) <= MOST_CHANNELS
    return vectors if groups > 1 and few and vectors * targets < groups else 0


def joins_groups(channels: int, targets: int, groups: int, lanes: int) -> bool:
    """Tell whether groups of so many channels in source and target are joined."""
    if groups == 1 or groups * targets > lanes:
        return False
    across = group_vectors(channels, targets, groups, lanes) > 0
    return not across or groups <= MOST_JOINED * targets


def with_results(cut: dict[str, int], targets: int, lanes: int) -> dict[str, int]:
    """Return a cut with room for a tile's results, which are not yet in the target's order."""
    return cut | {
        "products_place": cut["work"],
        "work": cut["work"] + TILE_ROWS[0] * targets * lanes,
    }
