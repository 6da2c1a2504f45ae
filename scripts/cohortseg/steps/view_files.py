"""A folder of results as the viewer shows it: which samples there are, and the files of each."""

import json
import logging
import math
import os
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Executor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from cohortseg.errors import CohortsegError, ImageError, MissingFileError, SettingsError, TableError
from cohortseg.settings.fields import is_url
from cohortseg.steps.assemble import read_order
from cohortseg.steps.planes import label_reader, read_metadata
from cohortseg.stores.cell_rows import CellRows, column_names
from cohortseg.stores.flags import Flags
from cohortseg.stores.labels import open_labels
from cohortseg.stores.location import Location, RemoteLocation
from cohortseg.stores.polygons import BoxReader
from cohortseg.stores.source import PageSelection
from cohortseg.stores.tables import read_json, read_parquet, read_tsv
from cohortseg.viewer.labels import LabelPyramid, LabelView
from cohortseg.viewer.pixels import ImageView
from cohortseg.viewer.sessions import SampleFiles, UnknownSampleError

_LOGGER = logging.getLogger("cohortseg")
_FILES = ("metadata.json", "polygons.parquet", "cells.parquet", "mask.zarr/zarr.json", "mask.zarr/.zattrs")
_LINKABLE = (*_FILES, "mask.zarr")
_NO_SAMPLES = ("cohort", "stacks", "compare")


class ResultsFolder:
    """Results of a workflow, of `cohortseg infer --image-dir`, or of one image; several threads may ask at once.

    No name that is asked for becomes a path: samples are looked up among the folders that were found.

    Parameters
    ----------
    folder
        The results.
    scratch
        Folder for files without a name.
    background
        Where smaller levels of images are made.
    remote
        Whether images that metadata.json names by a URL are fetched. Results of somebody else could have this computer
        ask any server that it reaches, so that is for the user to allow.

    Raises
    ------
    MissingFileError
        The folder is not there, or holds no results.
    SettingsError
        Flags would be written to another place.
    """

    def __init__(self, folder: Path, scratch: Path, background: Executor, *, remote: bool = False) -> None:
        self._folder = folder.resolve()
        self._scratch, self._background, self._remote = scratch, background, remote
        self._images: dict[str, Path] = {}
        self._samples = _find_samples(self._folder, tell=_LOGGER.warning)
        if not self._samples:
            raise MissingFileError(
                f"{folder} holds no results",
                "expected a folder with metadata.json in it, or in its subfolders",
                "Name the folder `results` of a workflow, or what `cohortseg infer` wrote.",
            )
        if not (self._folder / "cohort").resolve().is_relative_to(self._folder):
            raise SettingsError(
                f"{folder / 'cohort'} is a link to another place",
                "expected a folder, in which flags are written",
                "Replace it by the folder that it leads to.",
            )
        self.flags = Flags(self._folder / "cohort" / "flags.tsv")

    def cohort(self) -> dict[str, Any]:
        """Return title, samples and stacks, read anew."""
        self._samples = _find_samples(self._folder, tell=_LOGGER.debug)
        summary = self._summary()
        stacks = self._stacks()
        places = {name: (stack, z) for stack, planes in stacks.items() for name, z in planes}
        names = [*self._samples, *sorted(set(summary) - set(self._samples))]
        return {
            "title": self._folder.parent.name if self._folder.name == "results" else self._folder.name,
            "samples": [self._listed(name, summary.get(name, {}), *places.get(name, (None, None))) for name in names],
            "stacks": [
                {"stack": stack, "planes": [{"sample": name, "z_index": z} for name, z in planes]}
                for stack, planes in stacks.items()
            ],
        }

    def state(self, sample: str) -> Hashable:
        """Return when each file of a sample was last written; UnknownSampleError where there is no such sample.

        The image counts, too, once `files` has found out which it is.
        """
        folder, image = self._of(sample), self._images.get(sample)
        found = [_stat(path) for path in (*(folder / name for name in _FILES), *([] if image is None else [image]))]
        return tuple(None if each is None else (each.st_mtime_ns, each.st_size, each.st_ino) for each in found)

    def files(self, sample: str) -> SampleFiles:
        """Return what there is of a sample.

        Raises
        ------
        UnknownSampleError
            There is no such sample.
        TableError, MissingFileError
            Its files are damaged, or are not there yet.
        """
        folder = self._of(sample)
        metadata, shape = read_metadata(folder / "metadata.json")
        image = metadata.get("image")
        if _is_named(image) and not is_url(image):
            self._images[sample] = self._found(image)
        state = self.state(sample)
        polygons = folder / "polygons.parquet"
        cells = folder / "cells.parquet"
        table = cells if cells.is_file() else polygons
        pyramid = _label_pyramid(folder / "mask.zarr", shape)
        areas = read_parquet(table, ["area_px"])["area_px"]
        diameter_px = 0.0 if areas.empty else 2 * math.sqrt(float(areas.median()) / math.pi)
        return SampleFiles(
            metadata=metadata,
            shape=shape,
            labels=LabelView(shape, pyramid, label_reader(polygons), diameter_px),
            has_mask=pyramid is not None,
            polygons=BoxReader(polygons),
            columns=column_names(table),
            n_cells=len(areas),
            state=state,
            open_image=partial(self._open_image, metadata, shape),
            open_cells=partial(CellRows, table, self._scratch),
        )

    def _of(self, sample: str) -> Path:
        folder = self._samples.get(sample)
        if folder is None:
            raise UnknownSampleError
        return folder

    def _open_image(self, metadata: Mapping[str, Any], shape: tuple[int, int]) -> ImageView:
        location = self._location(metadata.get("image"))
        _require_same(location, metadata.get("image_checksum"))
        view = ImageView(location, _page(metadata), self._scratch, self._background)
        if view.source.shape != shape:
            view.close()
            raise ImageError(
                f"{location.name} has {view.source.shape[0]} x {view.source.shape[1]} px, and had "
                f"{shape[0]} x {shape[1]} px when it was segmented",
                "expected the same image",
                "Put the image back that was segmented, or segment it again.",
            )
        return view

    def _location(self, image: Any) -> Location:
        """Return where an image lies."""
        if not _is_named(image):
            raise TableError("metadata.json names no image", "expected its path", "Segment the image again.")
        if not is_url(image):
            return self._found(image)
        if not self._remote:
            host = urlsplit(image).hostname
            raise ImageError(
                f"{RemoteLocation(image).name} is not on this computer, and was not fetched from {host}",
                "expected an image of this computer",
                "If you trust these results, start the viewer again as `cohortseg view --remote`.",
            )
        return RemoteLocation(image)

    def _found(self, image: str) -> Path:
        """Return where a path leads; relative ones begin where the workflow ran, which is above its results."""
        candidates = [folder / image for folder in (*self._folder.parents, Path.cwd())]
        return next((path for path in candidates if _stat(path) is not None), candidates[0])

    def _summary(self) -> dict[str, dict[str, str]]:
        path = self._folder / "cohort" / "summary.tsv"
        if not path.is_file():
            return {}
        try:
            rows = read_tsv(path).to_dict("records")
        except TableError as error:
            _LOGGER.warning("%s", error)
            return {}
        return {str(row.get("sample")): {str(key): str(value) for key, value in row.items()} for row in rows}

    def _stacks(self) -> dict[str, list[tuple[str, int]]]:
        """Return the planes of each stack in z order; a folder of images is one once its z indices are filled in."""
        paths = {each.parent.name: each for each in sorted(self._folder.glob("stacks/*/configs.yml"))}
        if (own := self._folder / "configs.yml").is_file():
            paths[self._folder.name] = own
        stacks = {}
        for name, path in paths.items():
            try:
                order = read_order(path)
            except CohortsegError as error:
                _LOGGER.warning("%s", error)
                continue
            planes = [(sample, z) for sample, z in order if z is not None]
            if len(planes) == len(order):
                stacks[name] = sorted(planes, key=lambda plane: plane[1])
        return stacks

    def _listed(self, name: str, row: Mapping[str, str], stack: str | None, z_index: int | None) -> dict[str, Any]:
        n_cells = row.get("n_cells", "")
        known = int(float(n_cells)) if _is_number(n_cells) else None
        warnings = [each for each in row.get("warnings", "").split("; ") if each]
        status = row.get("status") or ("ok" if name in self._samples else "missing")
        if name in self._samples and known is None:
            known = _counted(self._samples[name] / "metadata.json")
        return {
            "sample": name,
            "status": status,
            "n_cells": known,
            "verdict": row.get("verdict") or ("look" if warnings and status == "ok" else status),
            "warnings": warnings,
            "stack": stack,
            "z_index": z_index,
        }


def _is_named(image: Any) -> TypeGuard[str]:
    return isinstance(image, str) and image != "" and "\0" not in image


def _require_same(location: Location, checksum: Any) -> None:
    """Raise ImageError where a file has another size than the image that was segmented: many are of one name."""
    expected = checksum.get("size_bytes") if isinstance(checksum, Mapping) else None
    if not isinstance(location, Path) or not location.is_file() or not isinstance(expected, int):
        return
    size_bytes = location.stat().st_size
    if size_bytes != expected:
        raise ImageError(
            f"{location.name} has {size_bytes} bytes, and had {expected} when it was segmented",
            "expected the same image",
            "Put the image back that was segmented, or segment it again.",
        )


def _find_samples(results: Path, tell: Callable[[str, Path], None]) -> dict[str, Path]:
    """Return the folders of samples by name; links that lead out of the results are left out, and told."""
    if not results.is_dir():
        raise MissingFileError(f"{results} is not a folder", "expected a folder of results", "Correct the path.")
    is_one = (results / "metadata.json").is_file()
    found = {}
    for folder in [results] if is_one else sorted(results.iterdir()):
        if (folder.name in _NO_SAMPLES and not is_one) or not (folder / "metadata.json").is_file():
            continue
        links = [path for path in (folder, *(folder / name for name in _LINKABLE)) if path.is_symlink()]
        if all(link.resolve().is_relative_to(results) for link in links):
            found[folder.name] = folder
        else:
            tell("%s is left out: it is a link to another place, or holds one", folder)
    return found


def _counted(metadata: Path) -> int | None:
    """Return how many cells metadata.json says that there are."""
    try:
        counts = read_json(metadata).get("counts")
    except CohortsegError:
        return None  # said when the sample is opened
    cells = counts.get("cells") if isinstance(counts, Mapping) else None
    return cells if isinstance(cells, int) else None


def _label_pyramid(mask: Path, shape: tuple[int, int]) -> LabelPyramid | None:
    """Return a label image with all its levels, None where there is none; TableError where it is of another image."""
    if not mask.is_dir():
        return None
    found = open_labels(mask).shape
    if found != shape:
        raise TableError(
            f"{mask.name} has the shape {found}, and metadata.json says {shape}",
            "expected both of one image",
            "Run `cohortseg poly2mask` on the folder of the sample.",
        )
    n_levels = next(level for level in count(1) if not (mask / str(level)).is_dir())
    return LabelPyramid(n_levels, partial(open_labels, mask))


def _page(metadata: Mapping[str, Any]) -> PageSelection:
    """Return the plane that was segmented; TableError where metadata.json does not say it as it should."""
    settings = metadata.get("settings")
    known = settings if isinstance(settings, Mapping) else {}
    image_type = known.get("image_type")
    numbers = {name: known.get(name) or 0 for name in ("series", "level", "plane")}
    if not all(isinstance(number, int) and number >= 0 for number in numbers.values()) or not (
        image_type is None or isinstance(image_type, str)
    ):
        raise TableError(
            f"metadata.json names the page {json.dumps(numbers)}, {image_type!r}",
            "expected the settings that the image was opened with",
            "Segment the image again.",
        )
    channel_last = known.get("channel_last") is True
    return PageSelection(image_type, **numbers, channel_last=channel_last, pixel_size_um=None, override_pixel_size=True)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
