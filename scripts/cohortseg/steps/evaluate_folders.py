"""`cohortseg evaluate`: label images or results against ground truth, without a workflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from cohortseg.errors import ImageError, MissingFileError, TableError
from cohortseg.evaluate import evaluate_image
from cohortseg.evaluate.image import ReadLabels
from cohortseg.evaluate.tables import Scored, summarise_scores, tabulate
from cohortseg.steps.flagged import NONE, FaultyCells, read_faulty
from cohortseg.steps.planes import label_reader
from cohortseg.stores.images import TIFF_SUFFIXES
from cohortseg.stores.polygons import polygon_bounds
from cohortseg.stores.tables import open_label_image, write_tsv

_SUFFIXES = (*TIFF_SUFFIXES, ".zarr", ".png", ".bmp")
_ZARR = ("zarr.json", ".zarray", ".zgroup")
_MASK = "mask.zarr"
_RESULTS = ("polygons.parquet", _MASK)
_SHOWN = ("ap_50", "ap_75", "ap_90", "ap_mean", "f1_50", "f1_neurips", "precision_50", "recall_50", "dice")
_NAMED = 10
_COUNTED = ("n_true", "n_predicted", "splits", "merges")


@dataclass(frozen=True)
class Pair:
    """One image: its name, its ground truth, the file of its predicted cells, and which true cells are faulty."""

    name: str
    truth: Path
    predicted: Path
    faulty: FaultyCells = NONE


def find_pairs(truth: Path, predicted: Path) -> list[Pair]:
    """Return what is to be compared: one image, or the images of two folders that have the same names.

    Names are those of files without their suffixes, and of folders of results. Ground truth is a label image, or a
    folder with `mask.zarr` in it, as the workflow makes it. Predicted cells are a label image, a file of polygons
    (`.parquet`), or a folder with `polygons.parquet` or `mask.zarr` in it.

    Raises
    ------
    MissingFileError
        A path is not there, a folder has no label images, or a true image has no prediction; lists all of these.
    ImageError
        Two files of a folder have the same name.
    """
    for path in (truth, predicted):
        if not path.exists():
            raise MissingFileError(f"{path} does not exist", "a label image or a folder was expected", "Correct it.")
    if not _is_folder(truth) or _result_in(truth):
        return [Pair(_image_name(truth), _one_truth(truth), _prediction(predicted))]
    if not _is_folder(predicted):
        raise ImageError(
            f"{predicted} is one image", f"{truth} is a folder of images", "Name two images or two folders."
        )
    true, found = _truths(truth), _predictions(predicted)
    missing = [name for name in true if name not in found]
    if missing or not true:
        what = f"no prediction for {', '.join(missing)}" if missing else f"no label images in {truth}"
        raise MissingFileError(what, f"expected names such as in {truth}", f"Correct the names in {predicted}.")
    return [Pair(name, path, found[name]) for name, path in true.items()]


def leave_out_faulty(pairs: list[Pair], flags: Path) -> list[Pair]:
    """Return the images with the true cells that are flagged as wrong, merged, split or outline, by sample.

    Raises
    ------
    MissingFileError, TableError
        There is no such file, a line of it is malformed, or it has no flag of any of the images.
    """
    faulty = read_faulty(flags)
    if not any(pair.name in faulty for pair in pairs):
        raise TableError(
            f"{flags} has no flag of {', '.join(pair.name for pair in pairs[:_NAMED])}{' …' * (len(pairs) > _NAMED)}",
            f"it has flags of {', '.join(list(faulty)[:_NAMED]) or 'nothing'}{' …' * (len(faulty) > _NAMED)}",
            "Give the flags of the ground truth, which has to have the names of its samples.",
        )
    return [replace(pair, faulty=faulty.get(pair.name, NONE)) for pair in pairs]


def evaluate_pair(pair: Pair) -> Scored:
    """Return the scores of one image, without its faulty true cells and what was found of them.

    Raises
    ------
    ImageError
        If the images differ in shape, or polygons lie outside the ground truth.
    TableError
        If a faulty cell is not in the ground truth where it was flagged.
    """
    with open_label_image(pair.truth) as truth, _open_predicted(pair.predicted, truth.shape) as read_predicted:
        pair.faulty.require_in(pair.truth, truth.read, truth.shape)
        counts = evaluate_image(truth.read, read_predicted, truth.shape, left_out=pair.faulty.cell_ids)
    height, width = truth.shape
    return Scored(pair.name, "", "", counts, float("nan"), height * width / 1e6)


def write_table(path: Path, images: list[Scored]) -> None:
    """Write all scores as tab-separated text, a row an image."""
    write_tsv(path, tabulate(images).drop(columns=["model", "modality", "seconds", "mpx", "seconds_per_mpx"]))


def describe(images: list[Scored]) -> str:
    """Return the main scores as lines of text: each image, the mean and median of several, and all as one."""
    table = tabulate(images)[["sample", *_SHOWN, *_COUNTED]]
    if len(images) > 1:
        summary = summarise_scores(images)
        summary["sample"] = "(" + summary["statistic"] + ")"
        table = pd.concat([table, summary[table.columns]], ignore_index=True)
    forms = {name: "{:.3f}".format for name in _SHOWN} | {name: "{:.6g}".format for name in _COUNTED}
    text: str = table.to_string(index=False, formatters=forms)
    return text


def _is_folder(path: Path) -> bool:
    """Tell a folder of images from an image that is a folder itself, a zarr."""
    return path.is_dir() and not any((path / file).exists() for file in _ZARR)


def _name(path: Path) -> str:
    """Return a file's name without its suffixes .tif, .ome.tif and so on."""
    stem = path.name.removesuffix(path.suffix) if path.suffix in (*_SUFFIXES, ".parquet") else path.name
    return stem.removesuffix(".ome")


def _result_in(folder: Path) -> Path | None:
    """Return the cells in a folder of results, None where it is none."""
    return next((folder / file for file in _RESULTS if (folder / file).exists()), None)


def _prediction(path: Path) -> Path:
    """Return the file or zarr of predicted cells that a path stands for."""
    if not _is_folder(path):
        return path
    result = _result_in(path)
    if result is None:
        raise MissingFileError(
            f"{path} has no cells", f"{' or '.join(_RESULTS)} was expected in it", "Name a label image or results."
        )
    return result


def _image_name(truth: Path) -> str:
    """Return the name of one image: of its folder, where it is the mask in a folder of results."""
    path = truth.absolute()
    return path.parent.name if path.name == _MASK else _name(path)


def _one_truth(truth: Path) -> Path:
    """Return the label image that a ground truth stands for: itself, or the mask in a folder of results."""
    if not _is_folder(truth):
        return truth
    if not (truth / _MASK).exists():
        raise MissingFileError(
            f"{truth} has no {_MASK}", "labels were expected as ground truth", "Draw them with `cohortseg poly2mask`."
        )
    return truth / _MASK


def _truths(folder: Path) -> dict[str, Path]:
    """Return label images and folders of results by name; of the latter, their masks."""
    entries = sorted(folder.iterdir())
    images = _by_name([path for path in entries if path.suffix.lower() in _SUFFIXES])
    results = [path for path in entries if _is_folder(path) and _result_in(path)]
    return images | {path.name: _one_truth(path) for path in results}


def _predictions(folder: Path) -> dict[str, Path]:
    """Return label images, files of polygons and folders of results by name."""
    entries = sorted(folder.iterdir())
    paths = [path for path in entries if path.suffix.lower() in (*_SUFFIXES, ".parquet")]
    found = ((path, _result_in(path)) for path in entries if _is_folder(path))
    results = {path.name: result for path, result in found if result is not None}
    return _by_name(paths) | results


def _by_name(paths: list[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        if (earlier := named.setdefault(_name(path), path)) != path:
            raise ImageError(
                f"{earlier.name} and {path.name} have one name",
                "one file for each image was expected",
                "Move one away.",
            )
    return named


@contextmanager
def _open_predicted(path: Path, shape: tuple[int, int]) -> Iterator[ReadLabels]:
    """Open predicted cells of an image of this shape for reading box by box."""
    if path.suffix == ".parquet":
        bounds = polygon_bounds(path)
        if bounds is not None and (min(bounds[:2]) < 0 or bounds[2] > shape[1] or bounds[3] > shape[0]):
            raise _misfit(path, "reaches beyond it", shape)
        yield label_reader(path)
        return
    with open_label_image(path) as labels:
        if labels.shape != shape:
            raise _misfit(path, f"is {labels.shape[0]} x {labels.shape[1]} px", shape)
        yield labels.read


def _misfit(path: Path, how: str, shape: tuple[int, int]) -> ImageError:
    return ImageError(
        f"{path} {how}", f"the ground truth is {shape[0]} x {shape[1]} px", "Compare results of the same image."
    )
