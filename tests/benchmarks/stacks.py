"""How well planes are linked into 3D cells: `python tests/benchmarks/stacks.py`.

The stack is ../shared/data/ovule, 32 planes of 128 x 128 px with 50 cells known in 3D. Its planes are cut out of the
truth and renumbered, so that all that is judged is the linking; then again with every twentieth cell of a plane taken
out, as a network would miss it. AP is that of the 3D objects against the 3D truth, by their voxels.
`cellpose.utils.stitch3D` is given the same planes and thresholds, and its objects in too few planes are dropped like
ours, which it does not do itself. Prints Markdown.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from cellpose import utils

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from cohortseg.arrays import Labels  # noqa: E402
from cohortseg.evaluate import average_precision  # noqa: E402
from cohortseg.kernels.overlap import count_overlaps  # noqa: E402
from cohortseg.settings import StitchSettings  # noqa: E402
from cohortseg.stitch import PlaneCells, drop_short, link_stack, pairs_of  # noqa: E402

STACK = ROOT.parent / "shared" / "data" / "ovule" / "sample_ovule.h5"
THRESHOLDS = (0.5, 0.4, 0.3, 0.25, 0.2, 0.1, 0.05, 0.02)
MIN_PLANES = (1, 2, 3)
MISSED = 0.05


def renumbered(truth: Labels, missed: float) -> Labels:
    """Return the planes with their cells numbered anew in each, a share of them taken out."""
    rng = np.random.default_rng(0)
    planes = np.zeros_like(truth)
    for plane, labels in zip(planes, truth, strict=True):
        cells = rng.permutation(np.unique(labels[labels > 0]))
        for number, cell in enumerate(cells[rng.random(cells.size) >= missed], start=1):
            plane[labels == cell] = number
    return planes


def cells_of(z_index: int, labels: Labels) -> PlaneCells:
    pairs, areas = count_overlaps(labels, labels)
    return PlaneCells(z_index, labels.shape, pairs[:, 0].astype(np.int64), areas)


def overlaps_of(below: Labels, above: Labels) -> pd.DataFrame:
    pairs, shared = count_overlaps(below, above)
    lower, upper = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    union = np.bincount(below.ravel())[lower] + np.bincount(above.ravel())[upper] - shared
    return pd.DataFrame({"lower_id": lower, "upper_id": upper, "overlap_px": shared, "iou": shared / union})


def ours(planes: Labels, settings: StitchSettings) -> Labels:
    pairs = pairs_of(range(len(planes)), settings.max_gap)
    overlaps = {(z, above): overlaps_of(planes[z], planes[above]) for z, above in pairs}
    links = link_stack([cells_of(z, labels) for z, labels in enumerate(planes)], overlaps, settings)
    kept, _ = drop_short(links, settings.min_planes)
    objects = np.zeros_like(planes)
    for z, rows in kept.groupby("z_index"):
        ids = np.zeros(int(planes[z].max()) + 1, np.uint32)
        ids[rows["plane_cell_id"]] = rows["cell_id"]
        objects[z] = ids[planes[z]]
    return objects


def theirs(planes: Labels, threshold: float, min_planes: int) -> Labels:
    utils.trange = range  # no progress bar
    with np.errstate(invalid="ignore"):  # it divides 0 by 0 for values that a plane does not have
        objects = utils.stitch3D(planes.copy(), stitch_threshold=threshold).astype(np.uint32)
    n_planes = sum(np.bincount(np.unique(plane), minlength=int(objects.max()) + 1) for plane in objects)
    objects[(n_planes < min_planes)[objects]] = 0
    return objects


def score(truth: Labels, objects: Labels) -> str:
    found = average_precision(truth, objects, [0.5, 0.75])
    return f"{found.ap[0]:.3f} / {found.ap[1]:.3f} ({found.tp[0]}, {found.fp[0]}, {found.fn[0]})"


def rows_of(truth: Labels, planes: Labels) -> Iterator[tuple[str, list[str]]]:
    for threshold in THRESHOLDS:
        yield (
            f"stitch3D, IoU {threshold}",
            [score(truth, theirs(planes, threshold, min_planes)) for min_planes in MIN_PLANES],
        )
        for given in ({"rule": "best"}, {"rule": "optimal"}, {"rule": "optimal", "max_gap": 1}):
            name = ", ".join(
                [f"{given['rule']}, IoU {threshold}", *[f"max_gap {n}" for n in [given.get("max_gap")] if n]]
            )
            yield name, each(truth, planes, given | {"iou_threshold": threshold})
    for share in (0.5, 0.7, 0.9):
        given = {"rule": "optimal", "splits": "join", "split_share": share}
        for threshold in (0.5, 0.25):
            name = f"optimal, IoU {threshold}, splits joined from a share of {share}"
            yield name, each(truth, planes, given | {"iou_threshold": threshold})


def each(truth: Labels, planes: Labels, given: dict[str, object]) -> list[str]:
    return [score(truth, ours(planes, StitchSettings(**given, min_planes=number))) for number in MIN_PLANES]


def main() -> None:
    with h5py.File(STACK) as file:
        truth = file["label"][:].astype(np.uint32)
    for title, missed in (("All cells of every plane", 0.0), (f"{MISSED:.0%} of the cells taken out", MISSED)):
        print(f"**{title}** — AP@0.5 / AP@0.75 (true, false, missed objects at 0.5)\n")
        print("| linked by | all objects | in 2 planes or more | in 3 planes or more |\n|---|---|---|---|")
        for name, values in rows_of(truth, renumbered(truth, missed)):
            print(f"| {name} | {' | '.join(values)} |")
        print()


if __name__ == "__main__":
    main()
