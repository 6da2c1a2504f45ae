"""Quality control over a made cohort of fifty: what was planted is found, each for its own reason, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from cohortseg.arrays import Labels
from cohortseg.segment.audit import SeamAudit, SeamLines
from cohortseg.settings import QuantifySettings, load_settings
from cohortseg.steps.assess import assess_file
from cohortseg.steps.mask2poly import trace_mask
from cohortseg.steps.quantify import quantify_file
from cohortseg.steps.report import write_report
from cohortseg.stores.polygons import read_polygons
from cohortseg.synthetic import crowded_field

SHAPE = (384, 384)
N_IMAGES = 50
SEED = 0
BORDERS = (128, 256)
"""Where the tiles of the made segmentation end, in both directions."""


@dataclass
class Scene:
    """One made image: nuclei and the cytoplasm around them (2, y, x) uint16, and the labels of the nuclei."""

    pixels: NDArray[np.uint16]
    labels: Labels


def scene(seed: int, n_cells: int, exposure: float) -> Scene:
    nuclei, labels = crowded_field(SHAPE, n_cells=n_cells, diameter_px=18.0, seed=seed)
    rng = np.random.default_rng(seed)
    near = ndimage.gaussian_filter((ndimage.distance_transform_edt(labels == 0) < 5).astype(np.float32), 1.0)
    stain = 1500 * near * (1 - 0.6 * (labels > 0)) + 150
    cytoplasm = stain + 2 * np.sqrt(stain) * rng.standard_normal(SHAPE)
    return Scene(np.stack([exposed(nuclei, exposure), exposed(cytoplasm, exposure)]), labels)


def exposed(plane: NDArray[np.generic], times: float) -> NDArray[np.uint16]:
    counts: NDArray[np.uint16] = np.clip(np.rint(plane * times), 0, 65535).astype(np.uint16)
    return counts


def blurred(made: Scene) -> Scene:
    """Return the image out of focus, segmented all the same."""
    return Scene(
        np.stack([exposed(ndimage.gaussian_filter(each.astype(float), 2.5), 1) for each in made.pixels]), made.labels
    )


def saturated(made: Scene) -> Scene:
    """Return the image of a camera of 12 bits that was exposed for too long."""
    return Scene(np.minimum(made.pixels.astype(np.uint32) * 3, 4095).astype(np.uint16), made.labels)


def shifted(made: Scene) -> Scene:
    """Return the image with its second channel moved."""
    return Scene(np.stack([made.pixels[0], np.roll(made.pixels[1], (5, -4), (0, 1))]), made.labels)


def seamed(made: Scene) -> Scene:
    """Return the image with its cells cut along the borders of tiles."""
    y, x = (np.searchsorted(BORDERS, np.arange(side), side="right") for side in SHAPE)
    part = (y[:, None] * (len(BORDERS) + 1) + x).astype(np.uint32)
    cut = np.where(made.labels > 0, made.labels * np.uint32((len(BORDERS) + 1) ** 2) + part, 0)
    _, numbered = np.unique(np.append(cut, 0), return_inverse=True)
    return Scene(made.pixels, numbered[:-1].reshape(SHAPE).astype(np.uint32))


FAULTS: dict[str, tuple[Callable[[Scene], Scene] | None, str]] = {
    "blurred": (blurred, "blurred: up to"),
    "saturated": (saturated, "is saturated: up to"),
    "shifted": (shifted, "is shifted"),
    "sparse": (None, "far fewer cells"),
    "seamed": (seamed, "borders of tiles left marks"),
}


def write_sample(made: Scene, folder: Path) -> None:
    """Write what a segmentation that found these labels would, and what is made of it."""
    folder.mkdir(parents=True)
    image, labels = folder / "image.ome.tif", folder / "labels.tif"
    channels = {"axes": "CYX", "Channel": {"Name": ["DAPI", "actin"]}}
    tifffile.imwrite(image, made.pixels, ome=True, metadata=channels)
    tifffile.imwrite(labels, made.labels)
    trace_mask(labels, folder, plane=None, z_index=None)
    polygons, metadata, cells = (folder / name for name in ("polygons.parquet", "metadata.json", "cells.parquet"))
    audit = SeamAudit(SeamLines(BORDERS, BORDERS, (), (), reach_px=1, diameter_px=18.0), SHAPE)
    audit.add(read_polygons(polygons, columns=None, box=None))
    lower, upper = np.percentile(made.pixels[0], [1, 99]).tolist()
    facts = json.loads(metadata.read_text()) | {
        "dtype": "uint16",
        "modality": "fluorescence",
        "inputs": [{"channels": [0], "join": "sum", "name": "DAPI"}],
        "channels": ["DAPI"],
        "normalisation": {"lower": [lower], "upper": [upper]},
        "seam_audit": audit.result(),
    }
    facts["settings"] = facts.get("settings", {}) | {"normalise": {"policy": "image"}}
    metadata.write_text(json.dumps(facts))
    quantify_file(image, polygons, metadata, cells=cells, settings=QuantifySettings())
    files = {"quality": folder / "quality.json", "preview": folder / "preview.png", "crops": folder / "crops.png"}
    assess_file(image, polygons, metadata, cells, **files, thumbnail_px=64)


def summary_of(results: Path, names: list[str]) -> pd.DataFrame:
    settings = load_settings({}).model_dump(mode="json")
    facts = {"image": "a.tif", "labels": None, "stack": None, "z_index": None, "segment": {"modality": "fluorescence"}}
    plan = {
        "results": str(results),
        "settings": settings,
        "samples": dict.fromkeys(names, facts),
        "stacks": {},
        "exports": [],
    }
    files = {name: results / "cohort" / f"{name}.out" for name in ("summary", "cells", "report")}
    write_report(plan, **files)
    return pd.read_csv(files["summary"], sep="\t", index_col="sample", keep_default_na=False)


def test_planted_faults_are_found_for_their_own_reason_and_no_other_image_is_flagged(tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    at = dict(zip(FAULTS, rng.choice(N_IMAGES, len(FAULTS), replace=False).tolist(), strict=True))
    for i in range(N_IMAGES):
        n_cells = int(rng.integers(140, 220))
        made = scene(1000 * SEED + i, n_cells // 10 if i == at["sparse"] else n_cells, float(rng.uniform(0.7, 1.4)))
        fault = next((change for name, (change, _) in FAULTS.items() if at[name] == i and change), None)
        write_sample(fault(made) if fault else made, tmp_path / "results" / f"field{i}")
    table = summary_of(tmp_path / "results", [f"field{i}" for i in range(N_IMAGES)])
    flagged = {name: text for name, text in table["warnings"].items() if text}
    assert set(flagged) == {f"field{i}" for i in at.values()}
    for name, i in at.items():
        assert FAULTS[name][1] in flagged[f"field{i}"]
    assert table["verdict"].value_counts().to_dict() == {"ok": N_IMAGES - len(FAULTS), "look": len(FAULTS)}
