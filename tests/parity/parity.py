"""Our networks beside Cellpose's own: COHORTSEG_CELLPOSE3=/path/to/python python tests/parity/parity.py [PART ...].

Parts are `network`, `cells` and `cellpose4`, all by default; README.md says what each shows.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "benchmarks")]

from wide import write_wide_checkpoint  # noqa: E402

import cohortseg  # noqa: E402
from cohortseg.networks import Network  # noqa: E402
from cohortseg.settings import SegmentSettings  # noqa: E402
from cohortseg.synthetic import crowded_field  # noqa: E402

IMAGES = ROOT.parent / "shared" / "data" / "dsb2018"
N_IMAGES = 12
MOST_DIFFERENCE = 1e-4
LEAST_AP = 0.99


@dataclass(frozen=True)
class Row:
    """One comparison: what, against what, the figure and its bar, and whether it is held."""

    what: str
    reference: str
    figure: str
    bar: str
    held: bool


def main(parts: list[str]) -> int:
    """Print the comparisons as Markdown; return 1 if one misses its bar."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    held = True
    print("| ours | reference | found | bar | |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in parts or list(PARTS):
            for row in PARTS[part](Path(folder)):
                held &= row.held
                verdict = "held" if row.held else "**MISSED**"
                print(f"| {row.what} | {row.reference} | {row.figure} | {row.bar} | {verdict} |", flush=True)
    return 0 if held else 1


def compare_networks(folder: Path) -> Iterator[Row]:
    """Compare the residual U-Net with Cellpose 3's, given random and trained state dicts of that package."""
    made = [crowded_field((224, 160), n_cells=40, diameter_px=NETWORK_PX, seed=i) for i in range(8)]
    np.savez(folder / "made.npz", images=[image for image, _ in made], labels=[truth for _, truth in made])
    cellpose3("new", folder / "random")
    cellpose3("train", folder / "trained", folder / "made.npz")
    write_wide_checkpoint(folder / "wide")
    nuclei = np.stack([image / np.percentile(image, 99) for image, _ in made[:4]]).astype(np.float32)
    # The wide one has learned from one channel: a second one leads to values that no image of cells does.
    for kind, given in (
        ("random", nuclei.reshape(2, 2, 224, 160)),
        ("trained", nuclei.reshape(2, 2, 224, 160)),
        ("wide", np.stack([nuclei, np.zeros_like(nuclei)], axis=1)),
    ):
        np.save(folder / "given.npy", given)
        cellpose3("net", folder / kind, folder / "given.npy", folder / "expected.npz")
        expected = np.load(folder / "expected.npz")
        for backend in ("torch", "openvino"):
            network = Network.of(settings(folder / kind, backend=backend))
            fields, style = network.forward(given)
            found = {"fields": fields, "style": style}
            yield _difference(
                f"residual U-Net, {kind} weights, {backend}, fp32",
                "CPnet 3.1.1.3",
                max(float(np.abs(found[name] - expected[name]).max()) for name in found),
                expected["fields"],
            )


def compare_cells(folder: Path) -> Iterator[Row]:
    """Compare whole segmentations of real images with those of CellposeModel.eval of Cellpose 3.

    First on one grid, where only the methods can differ: at the network's own diameter, in one tile, with ground around
    the image, since the two see its end at different distances. Then as users run them: each with its own tiles, its
    own end of the image, and its own rounding of the scaled image's sides.
    """
    write_wide_checkpoint(folder / "trained")
    same_grid, as_run = [], []
    for name, pixels, diameter_px in _real_images():
        ground = int(np.percentile(pixels, 1))
        framed = np.pad(pixels, [(48, 48 + -length % 16) for length in pixels.shape], constant_values=ground)
        same_grid.append(_matches(folder, framed, NETWORK_PX, tile_px=1536))
        as_run.append(_matches(folder, pixels, diameter_px, tile_px=224))
        precision = [found / max(total, 1) for found, total in (same_grid[-1], as_run[-1])]
        print(f"{name[:12]} {pixels.shape}: AP@0.9 {precision[0]:.4f}, {precision[1]:.4f}", file=sys.stderr, flush=True)
    yield _cells_row("at the network's scale, one tile, ground around", same_grid)
    yield _cells_row("true diameter, default tiles", as_run)


def _matches(folder: Path, pixels: NDArray[np.uint8], diameter_px: float, tile_px: int) -> tuple[int, int]:
    """Return how many cells both have, IoU at least 0.9, and how many either has."""
    from cellpose.metrics import average_precision

    np.save(folder / "image.npy", pixels)
    cellpose3("eval", folder / "trained", folder / "image.npy", folder / "labels.npy", diameter_px, tile_px)
    expected = np.load(folder / "labels.npy")
    # Cellpose 3 follows the flow on the image's own grid for 200 steps of the network's; so do we where it is finer.
    post = {"resample": True, "niter": max(1, round(200 * min(1.0, diameter_px / NETWORK_PX)))}
    changes = {"diameter": diameter_px, "postprocess": post, "pipeline": {"infer_size": 1536}}
    polygons = cohortseg.segment_image(pixels, settings=settings(folder / "trained", **changes))
    found = cohortseg.rasterise(polygons, pixels.shape)
    _, *counts = average_precision(expected, found.astype(np.int32), threshold=[0.9])
    return int(counts[0][0]), int(sum(count[0] for count in counts))


def _cells_row(how: str, matches: list[tuple[int, int]]) -> Row:
    """Return the comparison over the cells of all images: in few cells, each that is marginal weighs much."""
    both, either = np.sum(matches, axis=0)
    ap = float(both / either)
    least = min(found / max(total, 1) for found, total in matches)
    return Row(
        f"whole segmentation, {len(matches)} images of dsb2018, {how}",
        "CellposeModel.eval 3.1.1.3",
        f"AP@0.9 {ap:.4f} over {either:,} cells; least of an image {least:.4f}",
        f"≥ {LEAST_AP}",
        ap >= LEAST_AP,
    )


def compare_cellpose4(folder: Path) -> Iterator[Row]:
    """Compare the adapter of Cellpose 4's transformers with CellposeModel.eval of that package."""
    from cellpose import vit

    torch.manual_seed(0)
    torch.save(vit.CPSAM().state_dict(), folder / "cpsam")
    yield _compare_cellpose4(folder / "cpsam", "cpsam", side_px=320)
    if hasattr(vit, "dinov3_vitb16"):
        torch.save(vit.CPDINO(model_name="vitb").state_dict(), folder / "cpdino-vitb")
        yield _compare_cellpose4(folder / "cpdino-vitb", "cpdino-vitb", side_px=400)
    else:
        print("cpdino is not compared: the package dinov3 is not here", file=sys.stderr)


def _compare_cellpose4(checkpoint: Path, name: str, side_px: int) -> Row:
    from cellpose.models import CellposeModel

    rng = np.random.default_rng(1)
    image = np.kron(rng.random((side_px // 8, 40, 3)), np.ones((8, 8, 1))).astype(np.float32)  # sides multiples of 16
    model = CellposeModel(gpu=False, pretrained_model=str(checkpoint), use_bfloat16=False)
    _, (_, flow, logits), _ = model.eval(image, channel_axis=-1, compute_masks=False, tile_overlap=0.1)
    expected = np.concatenate([flow, logits[None]])
    del model
    lower, upper = np.percentile(image, [1, 99], axis=(0, 1))
    tile = np.moveaxis((image - lower) / (upper - lower), -1, 0).astype(np.float32)
    border = 8  # zeros around an image, as Cellpose has them
    tile = np.pad(tile, ((0, 0), (border, border), (border, border)))
    found = Network.of(settings(checkpoint)).forward(tile[None])[0][0][:, border:-border, border:-border]
    difference = float(np.abs(found - expected).max())
    return _difference(f"{name}, random weights, torch, fp32, {image.shape[0]} x {image.shape[1]} px",
                       "CellposeModel.eval 4, fp32", difference, expected)  # fmt: skip


def _difference(what: str, reference: str, found: float, expected: NDArray[np.float32]) -> Row:
    figure = f"largest difference {found:.1e} (values of {expected.min():.1f} to {expected.max():.1f})"
    return Row(what, reference, figure, f"≤ {MOST_DIFFERENCE:g}", found <= MOST_DIFFERENCE)


NETWORK_PX = 20.0
"""Diameter of a cell that the trained network knows."""


def _real_images() -> Iterator[tuple[str, NDArray[np.uint8], float]]:
    """Yield name, pixels (y, x) and true median diameter of images with fluorescent nuclei, spread over the set."""
    if not IMAGES.is_dir():
        sys.exit(f"The images are not here: {IMAGES} was expected; leave the part `cells` out.")
    rows = [line.split(",") for line in (IMAGES / "manifest.csv").read_text().splitlines()[1:]]
    names = [row[0] for row in rows if row[4] == "fluorescence" and int(row[3]) >= 20]
    for name in names[:: len(names) // N_IMAGES][:N_IMAGES]:
        truth = cv2.imread(str(IMAGES / "labels" / f"{name}.tif"), cv2.IMREAD_UNCHANGED)
        areas = np.unique(truth[truth > 0], return_counts=True)[1]
        image = cv2.imread(str(IMAGES / "images" / f"{name}.png"), cv2.IMREAD_COLOR)
        yield name, image.mean(axis=2).round().astype(np.uint8), float(2 * np.sqrt(np.median(areas) / np.pi))


def settings(checkpoint: Path, **changes: Any) -> SegmentSettings:
    """Return settings of a segmentation in full precision on the CPU."""
    given = {"model": checkpoint.name, "model_path": str(checkpoint), "device": "cpu", "precision": "fp32"}
    return SegmentSettings.model_validate({**given, "modality": "fluorescence", "invert": False, **changes})


def cellpose3(*arguments: object) -> None:
    """Run Cellpose 3's side in its own environment."""
    python = os.environ.get("COHORTSEG_CELLPOSE3")
    if not python:
        sys.exit("Set COHORTSEG_CELLPOSE3 to the Python of an environment with cellpose 3.1.1.3; see README.md.")
    command = [python, str(Path(__file__).with_name("cellpose3.py")), *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"Cellpose 3 failed:\n{done.stderr}")


PARTS = {"network": compare_networks, "cells": compare_cells, "cellpose4": compare_cellpose4}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
