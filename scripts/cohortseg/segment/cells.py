"""From the field of one window to its cells."""

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Flow, Labels, Logits
from cohortseg.errors import ImageError
from cohortseg.kernels.clean import areas, fill_holes, largest_pieces, relabel
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.maths import ON_HOST, AnyField, FieldMaths, HostMaths
from cohortseg.settings import PostprocessSettings
from cohortseg.tiling import Window


@dataclass(frozen=True)
class WindowCells:
    """The cells that a window owns, on the image's grid.

    Attributes
    ----------
    inner, outer
        Parts of the window in image pixels: what it alone ever sees, and what was looked at for these cells.
    labels
        (y, x) uint32 over `outer`: 0 is background; row k - 1 of the other arrays is label k.
    scores
        Mean cell probability (0 to 1) of each cell.
    flow_errors
        Mean squared difference between the network's flow and that of the cell's shape.
    n_cut
        Cells that reach the border of what was looked at, so that their outlines may be wrong.
    grown
        The window was looked at once more with two halos, for a cell that reached the border of one.
    """

    inner: Box
    outer: Box
    labels: Labels
    scores: NDArray[np.float32]
    flow_errors: NDArray[np.float32]
    n_cut: int
    grown: bool


@dataclass(frozen=True)
class _Grouped:
    """Labels on the grid on which the flow was followed, with seeds and flow errors by label."""

    labels: Labels
    seeds: NDArray[np.int32]
    errors: NDArray[np.float32]

    def kept(self, keep: NDArray[np.bool_]) -> "_Grouped":
        """Return the labels k for which keep[k - 1], numbered anew."""
        labels = relabel(self.labels, np.concatenate([[False], keep]))
        return _Grouped(labels, self.seeds[keep], self.errors[keep])


def labels_from_flows(flow: Flow, cell_probability: Logits, settings: PostprocessSettings | None = None) -> Labels:
    """Return the cells of a flow field.

    The steps and their meaning are those of Cellpose's `compute_masks` (Stringer et al. 2021): follow the flow,
    group what ends together, drop cells whose flow error is too large, fill holes, drop small cells. Beyond
    it, each cell is one piece: of a cell in several pieces (4-connected) the largest is kept.

    Parameters
    ----------
    flow
        (2, y, x) float32 in (y, x) order, five times a unit step, as the network gives it.
    cell_probability
        (y, x) float32, before the sigmoid.
    settings
        None for the defaults; `resample` plays no part.

    Returns
    -------
    Labels
        (y, x) uint32, 0 is background, cells numbered from 1 in the (y, x) order of the points they flow to.

    Raises
    ------
    ImageError
        If the shapes do not fit together.
    """
    settings = settings or PostprocessSettings()
    if flow.shape != (2, *cell_probability.shape):
        raise ImageError(
            f"flow has shape {flow.shape} and cell_probability {cell_probability.shape}",
            "(2, y, x) and (y, x) were expected",
            "Give the flow as (2, y, x) in (y, x) order and the cell probability of the same plane.",
        )
    flow, logits = np.asarray(flow, np.float32), np.asarray(cell_probability, np.float32)
    image = Box(0, 0, *cell_probability.shape)
    grouped = _group(flow, logits, settings, HostMaths(_usable_cores()), niter=settings.niter, image=image)
    return grouped.kept(_sizes(grouped.labels, len(grouped.seeds)) >= max(settings.min_size, 1)).labels


def window_cells(
    field: AnyField, window: Window, geometry: Geometry, settings: PostprocessSettings, maths: FieldMaths = ON_HOST
) -> WindowCells:
    """Return the cells whose seed lies in the window's core.

    Where one of them reaches the border of what the window sees, the window is looked at once more, with two halos.

    Parameters
    ----------
    field
        (3, y, x) float32 over `window.wide` of the network's grid: flow y, flow x, cell probability before the
        sigmoid.
    window
        In network pixels.
    maths
        Where the field lies.
    """

    def within(seen: Box) -> WindowCells:
        near = seen.shifted(-window.wide.y0, -window.wide.x0).slices
        return _cells_within(field[:, *near], window, seen, geometry, settings, maths)

    cells = within(window.outer)
    if cells.n_cut and window.wide != window.outer:
        return replace(within(window.wide), grown=True)
    return cells


def _cells_within(
    field: AnyField, window: Window, seen: Box, geometry: Geometry, settings: PostprocessSettings, maths: FieldMaths
) -> WindowCells:
    """Return the cells of the window that its field over the box `seen` shows."""
    core, inner, outer = window.core, geometry.image_box(window.inner), geometry.image_box(seen)
    on_image_grid = settings.resample and geometry.network_shape != geometry.image_shape
    niter, shape = settings.niter, geometry.network_shape
    if on_image_grid:
        outer = geometry.interpolated_box(seen)
        field = maths.resample(field, seen, geometry.network_shape, outer, geometry.image_shape)
        niter, shape = round(niter / min(geometry.scale, 1.0)), geometry.image_shape
        core, seen = geometry.image_box(core), outer
    image = Box(0, 0, *shape).shifted(-seen.y0, -seen.x0)
    grouped = _group(field[:2], field[2], settings, maths, niter=niter, image=image)
    core = core.shifted(-seen.y0, -seen.x0)
    owned: NDArray[np.bool_] = np.all(
        (grouped.seeds >= (core.y0, core.x0)) & (grouped.seeds < (core.y1, core.x1)), axis=1
    )
    grouped = grouped.kept(owned)
    n_cut = _count_cut(grouped.labels, seen, shape)
    scores = maths.mean_probability(grouped.labels, field[2])
    labels = grouped.labels
    if not on_image_grid and geometry.network_shape != geometry.image_shape:
        labels = largest_pieces(geometry.image_labels(labels, seen))
    keep = _sizes(labels, len(scores)) >= max(settings.min_size, 1)
    labels = relabel(labels, np.concatenate([[False], keep]))
    return WindowCells(inner, outer, labels, scores[keep], grouped.errors[keep], n_cut, grown=False)


def _group(
    flow: AnyField, logits: AnyField, settings: PostprocessSettings, maths: FieldMaths, *, niter: int, image: Box
) -> _Grouped:
    """Follow, group, check the flow error, fill; every step depends on a cell's neighbourhood and place in the image.

    `image` is the whole image in pixels of this window; see `follow_flow` for what its place is needed for.
    """
    grouped = _Grouped(*maths.group(flow, logits, threshold=settings.cellprob_threshold, niter=niter, image=image))
    if settings.flow_threshold > 0:
        grouped = grouped.kept(grouped.errors <= settings.flow_threshold)
    # By the kernels on the host, whatever the maths: a twentieth of the work, and hard to spread over many threads.
    whole = largest_pieces(fill_holes(grouped.labels))
    return _Grouped(whole, grouped.seeds, grouped.errors).kept(_sizes(whole, len(grouped.seeds)) > 0)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sizes(labels: Labels, n_labels: int) -> NDArray[np.int64]:
    """Return the pixels of labels 1 to n; the last ones may have none left."""
    counted = areas(labels)[1:]
    return np.pad(counted, (0, n_labels - len(counted)))


def _count_cut(labels: Labels, outer: Box, shape: tuple[int, int]) -> int:
    """Return the number of cells on the border of the window, where that is not the image's border."""
    sides = (
        (labels[0], outer.y0 > 0),
        (labels[-1], outer.y1 < shape[0]),
        (labels[:, 0], outer.x0 > 0),
        (labels[:, -1], outer.x1 < shape[1]),
    )
    touching = [np.unique(side) for side, within in sides if within]
    return int(np.count_nonzero(np.unique(np.concatenate(touching)))) if touching else 0
