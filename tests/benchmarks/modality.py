"""How often the modality of real images is told right: `python tests/benchmarks/modality.py`.

The images are ../shared/data/dsb2018, as they are and changed in ways that do not change the answer, or that change it
in a known one. The heuristic is that of the All-Cell Segmenter, from its description: planes without colours are
grey; a mean R / (R + G + B) below 0.05 is fluorescence; a mean (largest - smallest channel) of 4 or less is grey; all
else is histology. Prints Markdown, the tables of config/README.md.
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from cohortseg.segment.modality import guess_modality  # noqa: E402
from cohortseg.settings.modality import MODALITIES  # noqa: E402
from cohortseg.stores.source import ArraySource, ImageFacts  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "dsb2018"
KINDS = {"fluorescence": "fluorescence", "colour_histology": "histology", "gray_brightfield": "grey"}
Pixels = NDArray[Any]


def grey(image: Pixels) -> Pixels:
    return np.round(image @ np.array([0.299, 0.587, 0.114])).astype(image.dtype)


def tinted(image: Pixels) -> Pixels:
    return (image * np.array([1.0, 0.9, 0.7])).astype(np.uint8)


def as_jpeg(image: Pixels) -> Pixels:
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]


def half_size(image: Pixels) -> Pixels:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def quarter(image: Pixels) -> Pixels:
    return image[: image.shape[0] // 2, image.shape[1] // 2 :]


def stretched(image: Pixels) -> Pixels:
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip((image - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)


def blue(image: Pixels) -> Pixels:
    zero = np.zeros(image.shape[:2], np.uint8)
    return np.stack([zero, zero, grey(image)], axis=-1)


TO_GREY = {"histology": "grey"}
ONLY_LIGHT: dict[str, str | None] = {"histology": None, "grey": None}
CHANGES: dict[str, tuple[Callable[[Pixels], Pixels], dict[str, str | None]]] = {
    "as it is": (lambda image: image, {}),
    "half size": (half_size, {}),
    "a quarter of it": (quarter, {}),
    "JPEG, quality 50": (as_jpeg, {}),
    "16 bit": (lambda image: image.astype(np.uint16) * 257, {}),
    "8 of 16 bit, without colour": (lambda image: grey(image).astype(np.uint16), dict(TO_GREY)),
    "without colour": (grey, dict(TO_GREY)),
    "dim, 12 bit, without colour": (lambda image: grey(image).astype(np.uint16) * 8 + 100, dict(TO_GREY)),
    "tinted": (tinted, {}),
    "half as bright": (lambda image: image // 2, {}),
    "stretched": (stretched, {}),
    "gamma 0.5": (lambda image: (255 * np.sqrt(image / 255)).astype(np.uint8), {}),
    "inverted": (lambda image: 255 - image, {"fluorescence": "grey", "histology": None, "grey": "fluorescence"}),
    "shown in blue": (blue, ONLY_LIGHT),
}


def ours(image: Pixels) -> str:
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    names = ("0",) if image.ndim == 2 else ("R", "G", "B")
    facts = ImageFacts(Path("a"), planes.shape[1:], planes.dtype, names, image.ndim == 3, None, 1, "array")
    return guess_modality(ArraySource(planes, facts)).name


def heuristic(image: Pixels) -> str:
    if image.ndim == 2:
        return "grey"
    values = image.astype(float) / (1 if image.dtype == np.uint8 else 257)
    if (values[..., 0] / np.maximum(values.sum(axis=2), 1e-9)).mean() < 0.05:
        return "fluorescence"
    return "grey" if (values.max(axis=2) - values.min(axis=2)).mean() <= 4 else "histology"


def main() -> None:
    with (DATA / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [(KINDS[row["kind"]], row["id"]) for row in csv.DictReader(file)]
    told: Counter[tuple[str, ...]] = Counter()
    right: dict[str, list[tuple[bool, bool]]] = {name: [] for name in CHANGES}
    for number, (kind, name) in enumerate(rows):
        image = np.asarray(cv2.imread(str(DATA / "images" / f"{name}.png"), cv2.IMREAD_COLOR))[..., ::-1]
        told["ours", kind, ours(image)] += 1
        told["heuristic", kind, heuristic(image)] += 1
        if kind == "fluorescence" and number % 4:
            continue  # one in four, so that no kind outweighs the others by far
        for change, (make, expected) in CHANGES.items():
            if (answer := expected.get(kind, kind)) is not None:
                changed = make(image)
                right[change].append((ours(changed) == answer, heuristic(changed) == answer))
    print("| kind | told by | " + " | ".join(MODALITIES) + " |\n|---|---|" + "---|" * len(MODALITIES))
    for kind in MODALITIES:
        for by in ("ours", "heuristic"):
            print(f"| {kind} | {by} | " + " | ".join(str(told[by, kind, name]) for name in MODALITIES) + " |")
    print("\n| change | images | right | heuristic |\n|---|---|---|---|")
    for change, found in right.items():
        mine, theirs = np.mean(found, axis=0) * 100
        print(f"| {change} | {len(found)} | {mine:.1f} % | {theirs:.1f} % |")


if __name__ == "__main__":
    main()
