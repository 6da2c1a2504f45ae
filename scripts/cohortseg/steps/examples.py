"""Labelled images as a network sees them when it learns."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError
from cohortseg.segment.inputs import choose_channels, measure_normalisation
from cohortseg.settings import NormaliseSettings
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps.flagged import faulty_cells_of
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.images import open_image
from cohortseg.stores.source import FIRST_PAGE
from cohortseg.stores.tables import read_label_image
from cohortseg.train.crops import Example


def keep_example(example: Example, path: Path) -> Example:
    """Write the pixels of an example beside `path` and return it with them on disk, so that crops read what they show.

    Intensities are kept in half precision, which is finer than what most cameras tell apart.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    narrow = np.uint16 if example.labels.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    kept = {"image": example.image.astype(np.float16), "labels": example.labels.astype(narrow)}
    for part, pixels in kept.items():
        with atomic_path(path.with_name(f"{path.name}.{part}.npy")) as temporary, temporary.open("wb") as file:
            np.save(file, pixels)
    opened = {part: np.load(path.with_name(f"{path.name}.{part}.npy"), mmap_mode="r") for part in kept}
    return replace(example, **opened)


def read_example(sample: TrainingSample, settings: TrainSettings) -> Example:
    """Read one labelled image as a network will see it when it segments.

    Percentiles are those of a segmentation with the default settings; images of `inverted_kinds` are inverted. Where
    the sheet names no channels, a colour image keeps its three, of which crops show a mix, and of any other the first
    is taken. Cells that are flagged as faulty are not taught, and the diameter is that of the others.

    Raises
    ------
    ImageError
        If a file cannot be read, or image and labels differ in shape.
    TableError
        If a flagged cell is not in the labels where it was flagged.
    """
    labels, faulty = _read_labels(sample)
    with open_image(Path(sample.image), FIRST_PAGE) as source:
        if labels.shape != source.shape:
            raise ImageError(
                f"the labels of {sample.sample} are {labels.shape[0]} x {labels.shape[1]} px",
                f"its image is {source.shape[0]} x {source.shape[1]} px",
                "Correct labels in the training sheet.",
            )
        is_colour = source.is_rgb and sample.channels is None
        mix = choose_channels(source, source.channels if is_colour else sample.channels, 3 if is_colour else 2)
        normalisation = measure_normalisation(source, mix, NormaliseSettings())
        planes = mix.inputs(source.read(mix.channels, Box(0, 0, *source.shape)))
    image = normalisation.apply(np.stack([np.asarray(plane, np.float32) for plane in planes]))
    if sample.kind in settings.inverted_kinds:
        image = 1 - image
    diameter_px = median_diameter_px(labels, faulty) or settings.diameter_px
    numbered, untaught = _numbered(labels, faulty)
    example = Example(image, numbered, diameter_px, sample.kind, is_colour, untaught)
    if is_colour and np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]):
        return replace(example, image=image[:1], is_colour=False)
    return example


def true_diameter_px(sample: TrainingSample) -> float | None:
    """Return the median diameter of the true cells of an image that are not flagged as faulty; errors as above."""
    return median_diameter_px(*_read_labels(sample))


def _read_labels(sample: TrainingSample) -> tuple[Labels, NDArray[np.uint32]]:
    """Return the labels of an image and the values of the cells that are flagged as faulty."""
    labels, faulty = read_label_image(Path(sample.labels)), faulty_cells_of(sample)
    height, width = labels.shape
    faulty.require_in(Path(sample.labels), lambda box: labels[box.slices], (height, width))
    return labels, faulty.cell_ids


def median_diameter_px(labels: Labels, left_out: Sequence[int] | NDArray[np.uint32] = ()) -> float | None:
    """Return the median diameter of circles with the areas of the cells; None where there are no cells.

    Parameters
    ----------
    left_out
        Labels that are not looked at.
    """
    values, areas = np.unique(labels[labels > 0], return_counts=True)
    areas = areas[~np.isin(values, left_out)]
    return float(2 * np.sqrt(np.median(areas) / np.pi)) if areas.size else None


def _numbered(labels: Labels, faulty: NDArray[np.uint32]) -> tuple[Labels, NDArray[np.uint32]]:
    """Return the labels numbered from 1 without gaps, and the numbers of the faulty ones, all of which are there.

    Crops are warped as float32, which holds no large numbers.
    """
    values, inverse = np.unique(labels, return_inverse=True)
    first = 0 if values[0] == 0 else 1
    numbered = (inverse.reshape(labels.shape) + first).astype(np.uint32)
    return numbered, (np.searchsorted(values, faulty) + first).astype(np.uint32)
