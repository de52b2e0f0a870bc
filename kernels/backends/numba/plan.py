"""What the loop nests of a convolution read: sizes, tables of offsets, and the algorithm chosen.

Everything here is decided in plain Python; what bits depend on from the shapes alone, so that they
are the same whatever the number of threads. Sizes are in elements of flat channels-last memory.

A gather (forward, or backward to the input) is cut into tasks: some images (``chunk``), a band of
target rows, a part of the target's channels. The source rows that a task needs are copied, with
zeros around them, into a scratch buffer, to which all offsets refer. The weight gradient is cut
into the same bands; its tasks are summed into a few partial results.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.backends.numba import winograd_cost
from kernels.backends.numba.axes import Gather, backward_gather, forward_gather
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.grouped_kernel import TILE_ROWS
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.plan_cuts import (
    DIRECT_SHARES,
    LEAST_TASKS,
    direct_cut,
    in_place,
    winograd_cut,
)
from kernels.backends.numba.plan_grouped import group_vectors, joins_groups, with_results
from kernels.backends.numba.plan_neighbours import Neighbours, best_neighbours
from kernels.backends.numba.plan_pixels import backward_gathers
from kernels.backends.numba.plan_tables import SHAPE, Table, pixel_step, records
from kernels.backends.numba.plan_terms import pairs, steps, tables
from kernels.backends.numba.points import apart
from kernels.backends.numba.tasks import fixed
from kernels.backends.numba.winograd_cost import POINTS
from kernels.geometry import ConvGeometry
from kernels.threads import largest

FEW_WEIGHTS, ENOUGH_PIXELS = 80 * 1024, 56
"""Weights, 320 KiB in float32, up to which images are cut into tasks of whole pixels, not by
panels, where a task has enough of them. On 2 threads of a Xeon (Emerald Rapids), where two cores
that write parts of the same pixels are in each other's way: 8 images of 28×28, 1 channel to 64
through 1×1 0.49 of the time, 16 to 64 0.65, 3 to 64 through 3×3 0.75; 256 to 128 backward through
1×1 of stride 2 0.79. Of 24 pixels a task, 128 channels of 7×7 would take 1.16."""

CORE_TASKS, PIXEL_WEIGHTS = 4, 100
"""Tasks for each core from which on images are not cut by panels besides: cores would load and
transform the same sources, and write parts of the same pixels. But where there are more weights for
each pixel, a core is to read those that it packed itself. On 2 threads of a Xeon (Emerald
Rapids), forward and backward to the input: 8 tasks of 64 channels, 4 images of 28×28 0.89 and 0.92
of the time, 32 of 8×8 1.08 and 0.71, of 48 channels 0.86, 8 images of 128×28×28 0.93, one of
64×56×56 through 1×1 0.85; but 4 tasks of 128×14×14 0.99 and 1.04, and 256 weights a pixel, 32 of
64×7×7 backward through 7×7 from 128, 1.23."""

LEAST_SHARED = 100_000
"""Multiply-adds from which on vectors are filled by weights of zero forward, or between groups, or
for the sake of little else: below, a call takes as long for other reasons, and NaN is to stay where
it belongs."""

LEAST_TO_FETCH, MOST_TO_FETCH, LARGE_TARGET = 32, 9, 4 * 2**20
"""Terms of a tile from which on it asks for the lines that it will write, since these come near
meanwhile; and up to which it does so where the target, in float32, has more bytes than the caches.
32 images of 28×28, 6.4 MB, on 2 threads of a Xeon (Emerald Rapids): 1 channel to 64 through 1×1
0.82 of the time, 64 to 1 backward 0.84, 4 to 64 0.86, but 16 to 64 1.03, and 9 to 32, 3.2 MB, 1.06.
(On Zen 5, whose caches are faster, the first two took 1.08 and 1.04.)"""

WIDE_TARGET = 160
"""Target channels from which on tiles of any number of terms do so. On the same Xeon, through 1×1:
32 images of 14×14, 12 channels to 256 0.69 of the time, 16 to 256 0.78, to 384 0.80, to 512 0.76,
28 to 512 0.98; of 28×28, 12 to 160 0.90; but 16 to 128 0.98, to 64 1.1 to 1.3."""

LEAST_PAIRED = 12
"""Terms from which on they are multiplied in pairs, see ``_pairs_terms``."""


@dataclass(frozen=True)
class Plan:
    """A plan, as ``entries`` of the tasks' table, and what else Python needs of it.

    ``taps`` lists the window's taps in the order in which the weights are to be packed, for each of
    the pixels that share a vector, -1 for a weight of zero;
    ``cycles`` are the model's for the direct and for Winograd's algorithm, where there is a choice.
    If there are ``transforms``, see ``plan_at_once``, these are tasks that come first.
    """

    shape: Table
    phases: Table
    blocks: Table
    segments: Table
    taps: Table
    cycles: tuple[float, float] | None
    transforms: int = 0

    @functools.cached_property
    def entries(self) -> tuple[Any, ...]:
        """The entries from SHAPES to SEGMENTS."""
        return fixed(self.shape, self.phases, self.blocks, self.segments)

    @functools.cached_property
    def taps_entries(self) -> tuple[Any, ...]:
        """The entries TAPS and TAP_COUNT."""
        return *fixed(self.taps), len(self.taps) // self.neighbours

    def __getattr__(self, name: str) -> int:
        """Return a field of the shape."""
        if name not in (SHAPE.names or ()):
            raise AttributeError(name)
        value = self.__dict__[name] = int(self.shape[name][0])
        return value

    @functools.cached_property
    def tasks(self) -> int:
        """Number of tasks of a gather."""
        return -(-self.images // self.chunk) * self.bands * self.parts

    @property
    def slots(self) -> int:
        """Tasks that differ in their pixels: each has a slot for its sums."""
        return self.tasks // self.parts

    @functools.cached_property
    def slot_pixels(self) -> Table:
        """Target pixels of each of them."""
        images = np.arange(0, self.images, self.chunk)
        rows = np.arange(self.bands) * self.band_rows
        images = np.minimum(self.chunk, self.images - images)
        rows = np.minimum(self.band_rows, self.target_rows - rows)
        return np.outer(images, rows * self.target_columns).reshape(-1)

    @property
    def band_size(self) -> int:
        """Elements of a task's target pixels, with all their channels."""
        return self.chunk * self.band_rows * self.target_columns * self.target_channels

    def keeps_together(self, rows: int) -> bool:
        """Whether bands end where a number of rows do, counted from an image's first."""
        return self.bands == 1 or self.band_rows % rows == 0

    @property
    def packing_tasks(self) -> int:
        """Panels of weights, or vectors of groups, each of which a task packs; or transforms."""
        return self.transforms or self.grouped or self.groups * self.panels

    @functools.cached_property
    def plain_size(self) -> int:
        """Elements of the weights, packed for the direct algorithm."""
        if self.winograd:
            return 0
        lanes = self.panel // PANEL_VECTORS
        if self.grouped:
            return self.grouped * lanes * self.out_group * self.terms
        return self.groups * self.panels * self.terms * self.panel

    @functools.cached_property
    def start_size(self) -> int:
        """Elements of what the target channels start from: a panel more, as vectors are loaded."""
        channels = max(self.groups, self.grouped * self.panel) * self.out_group
        return (-(-channels // self.panel) + 1) * self.panel

    @functools.cached_property
    def points_size(self) -> int:
        """Elements of the weights, transformed for Winograd's; of the sources, if these are."""
        if self.transforms:
            tiles = self.images * self.tiles_down * self.tiles_across
            return POINTS * apart(tiles * self.pixel, self.panel // PANEL_VECTORS)
        size = apart(self.source_channels * self.panel, self.panel // PANEL_VECTORS)
        return POINTS * self.panels * size if self.winograd else 0


@dataclass(frozen=True)
class Gathering:
    """What there is to plan: a convolution in one direction, and the lanes of a vector.

    A task loads ``part_channels`` of the source's, or all; ``beside`` are the elements per target
    pixel that it holds besides. Where ``neighbours`` share a vector, ``columns`` and
    ``target_channels`` are theirs. Of ``joined`` groups the geometry has made one.
    """

    geometry: ConvGeometry
    rows: Gather
    columns: Gather
    source_channels: int
    target_channels: int
    lanes: int
    part_channels: int = 0
    beside: int = 0
    neighbours: Neighbours | None = None
    joined: int = 1

    @classmethod
    def forward(cls, geometry: ConvGeometry, lanes: int) -> Gathering:
        """Gather y from x."""
        rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
        return cls(geometry, rows, columns, geometry.channels, geometry.out_channels, lanes)

    @classmethod
    def backward(cls, geometry: ConvGeometry, lanes: int) -> Gathering:
        """Gather x's gradient from y's."""
        rows, columns = backward_gather(geometry.height), backward_gather(geometry.width)
        return cls(geometry, rows, columns, geometry.out_channels, geometry.channels, lanes)


@functools.lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of y from x."""
    what = _joined(Gathering.forward(geometry, lanes))
    cycles = cycles_of(what, winograd_cost.gather_cycles)
    if geometry.multiply_adds >= LEAST_SHARED:
        what, cycles = _with_neighbours(what, cycles)
    return plan_gathering(what, cycles)


@functools.lru_cache(maxsize=512)
def backward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of x's gradient from y's."""
    what = _joined(Gathering.backward(geometry, lanes))
    cycles = cycles_of(what, winograd_cost.gather_cycles)
    rows, columns = what.rows, what.columns
    if not is_winograd(cycles):
        rows, columns = backward_gathers(geometry)
    if (rows, columns) != (what.rows, what.columns):
        what = dataclasses.replace(what, rows=rows, columns=columns)
    else:
        what, cycles = _with_neighbours(what, cycles)
    return plan_gathering(what, cycles)


def _joined(what: Gathering) -> Gathering:
    """Make one group of several, if that is worth it."""
    groups = what.geometry.groups
    if what.geometry.multiply_adds < LEAST_SHARED:
        return what
    channels = what.source_channels // groups, what.target_channels // groups
    if not (winograd_cost.ENABLED and joins_groups(*channels, groups, what.lanes)):
        return what
    one = dataclasses.replace(what.geometry, groups=1)
    return dataclasses.replace(what, geometry=one, joined=groups)


def _with_neighbours(what: Gathering, cycles: Cycles | None) -> tuple[Gathering, Cycles | None]:
    """Have neighbouring pixels share vectors, if that saves something, and more than Winograd's."""
    if what.geometry.groups > 1 or not winograd_cost.ENABLED:
        return what, cycles
    taps = sum(len(phase.taps) for phase in what.rows.phases) / len(what.rows.phases)
    each = taps * what.source_channels
    if what.geometry.multiply_adds < LEAST_SHARED:
        each = math.inf
    neighbours, gain = best_neighbours(what.columns, what.target_channels, what.lanes, each)
    if neighbours is None:
        return what, cycles
    if cycles is not None:
        direct, winograd = cycles
        cycles = direct / gain, winograd
        if is_winograd(cycles):
            return what, cycles
    channels = neighbours.count * what.target_channels
    what = dataclasses.replace(
        what, columns=neighbours.columns, target_channels=channels, neighbours=neighbours
    )
    return what, cycles


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Elements of a vector register."""
    return REGISTER_BYTES // dtype.itemsize


Cycles = tuple[float, float]
Model = Callable[[int, int, int, int, int, int], Cycles]


def plan_gathering(what: Gathering, cycles: Cycles | None, shares: int | None = None) -> Plan:
    """Choose the algorithm by its cycles, cut the work and make the tables.

    ``shares`` are the parts of the channels that a cut may count on; those of the target, if it is
    not said.
    """
    winograd = is_winograd(cycles)
    sizes = _sizes(what, winograd, shares)
    shape = np.zeros(1, SHAPE)
    for name, value in sizes.items():
        shape[name] = value
    kernel, neighbours = what.geometry.width.kernel, what.neighbours
    across = kernel if neighbours is None else neighbours.taken.shape[1]
    phases, blocks, segments, taps = tables(shape[0], what.rows, what.columns, across)
    if neighbours is not None:
        taps = neighbours.taps(taps, kernel)
    shape["paired"] = _pairs_terms(shape[0])
    shape["fetched"] = _fetches_target(shape[0])
    if sizes["grouped"]:
        shape["first_term"] = len(segments) // 2
        results = steps(TILE_ROWS[0], 0, sizes["out_group"] * what.lanes)
        segments = pairs(segments, results)
    if winograd:
        tiles = sizes["chunk"] * sizes["tiles_down"] * sizes["tiles_across"]
        rows = steps(tiles, sizes["pixel"], sizes["panel"])
        segments = pairs([(0, what.source_channels)], rows)
    return Plan(records(shape), phases, blocks, segments, taps, cycles)


def _pairs_terms(s: Any) -> bool:
    """Tell whether tiles of one vector take terms two by two: those of a tap, where they are many.

    To add up a tile's pairs costs as much as 4 terms. 4, 8 and 16 channels to 16 through 1×1, 32
    images of 28×28 on 2 threads of Zen 5: 1.09, 1.06 and 0.94 of the time.
    """
    terms = s["in_group"] if s["winograd"] else s["terms"] // s["phases"]
    return bool(not s["grouped"] and s["in_group"] % 2 == 0 and terms >= LEAST_PAIRED)


def _fetches_target(s: Any) -> bool:
    """Tell whether tiles ask for the lines that they will write."""
    target = 4 * s["images"] * s["target_rows"] * s["target_columns"] * s["target_channels"]
    terms = s["terms"] // s["phases"]
    if_large = terms <= MOST_TO_FETCH or s["target_channels"] >= WIDE_TARGET
    return bool(terms >= LEAST_TO_FETCH or (if_large and target > LARGE_TARGET))


def is_winograd(cycles: Cycles | None) -> bool:
    """Tell whether Winograd's algorithm is the one of fewer cycles."""
    return cycles is not None and cycles[1] < cycles[0]


def cycles_of(what: Gathering, model: Model) -> Cycles | None:
    """Return the model's cycles for either algorithm, None if only the direct one will do."""
    if not (winograd_cost.ENABLED and winograd_cost.fits(what.geometry)):
        return None
    if what.joined == what.source_channels > 1:  # no sum over channels is worth other roundings
        return None
    pixels = what.geometry.batch, what.rows.target_size, what.columns.target_size
    if math.prod(pixels) < winograd_cost.LEAST_PIXELS:
        return None
    vectors = -(-what.target_channels // what.lanes)
    return model(*pixels, what.source_channels, vectors, what.lanes)


def _mostly_zeros(rows: Gather, columns: Gather) -> bool:
    """Tell whether at least half of the target pixels are zeros, as no tap gathers anything.

    Then a task clears its pixels first, in the order of memory. Backward through 1×1 with stride 2
    on 2 threads of Zen 5: 32 images of 256×14×14 from 10 channels 0.58 of the time, of 16×32×32
    from 32 0.82, 8 images of 64×56×56 from 128 0.93.
    """
    pixels, gathered = rows.target_size * columns.target_size, rows.gathered * columns.gathered
    return 0 < gathered <= pixels // 2


def _sizes(what: Gathering, winograd: bool, shares: int | None) -> dict[str, int]:
    """Return the fields of the shape, but for those that the tables count."""
    images, groups = what.geometry.batch, what.geometry.groups
    rows, columns, together = what.rows, what.columns, what.columns.together
    out_group, panel = what.target_channels // groups, PANEL_VECTORS * what.lanes
    panels = -(-out_group // panel)
    part_channels = what.part_channels or what.source_channels
    in_group = what.source_channels // groups
    vectors = group_vectors(in_group, out_group, groups, what.lanes)
    pixel = pixel_step(vectors * what.lanes * in_group or part_channels, what.lanes)
    taps = what.geometry.height.kernel * what.geometry.width.kernel
    weights = taps * in_group * what.target_channels
    pixels = images * rows.target_size * columns.target_size
    if winograd:
        cut = winograd_cut(images, rows, columns, pixel, what.lanes, shares or panels)
    else:
        few = weights <= FEW_WEIGHTS and pixels // LEAST_TASKS >= ENOUGH_PIXELS
        shares = shares or (1 if few else min(panels, DIRECT_SHARES))
        cut = direct_cut(images, rows, columns, pixel, what.beside, what.lanes, shares)
        if vectors:
            cut = with_results(cut, out_group, what.lanes)
        elif rows.inside and columns.inside and pixel == part_channels == what.source_channels:
            cut = in_place(cut, rows, columns, pixel, what.lanes)
    tasks = -(-images // cut["chunk"]) * cut["bands"]
    part_panels = panels
    enough = LEAST_TASKS
    if weights <= PIXEL_WEIGHTS * pixels:
        enough = min(enough, CORE_TASKS * largest())
    if groups == 1 and tasks < enough:
        part_panels = max(1, panels * tasks // LEAST_TASKS)
    whole_pixels = part_panels == panels and not (vectors or winograd)
    return cut | {
        "images": images,
        "groups": groups,
        "in_group": in_group,
        "out_group": out_group,
        "panels": panels,
        "part_panels": part_panels,
        "part_channels": part_channels,
        "parts": -(-panels // part_panels),
        "panel": panel,
        "source_rows": rows.source_size,
        "source_columns": columns.source_size,
        "source_channels": what.source_channels,
        "pixel": pixel,
        "target_rows": rows.target_size,
        "target_columns": columns.target_size,
        "target_channels": what.target_channels // together,
        "band_step": cut["band_rows"] // rows.target_step * rows.source_step,
        "first_row": rows.low,
        "first_column": columns.low,
        "winograd": winograd,
        "neighbours": together,
        "grouped": vectors,
        "joined": what.joined,
        "cleared": whole_pixels and _mostly_zeros(rows, columns),
    }
