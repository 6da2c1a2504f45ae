"""`cohortseg infer`: one image or a folder of images, segmented without a workflow."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError, ImageError, MissingFileError, SettingsError
from cohortseg.networks import Network
from cohortseg.networks.models import find_network
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.steps.assemble import read_order, write_configs
from cohortseg.steps.cohort_intensities import settled, tabulate_intensities
from cohortseg.steps.intensities import measure_file
from cohortseg.steps.progress import progress_bar
from cohortseg.steps.segment import LoadNetwork, loader, segment_file
from cohortseg.stores.images import TIFF_SUFFIXES
from cohortseg.stores.location import Location
from cohortseg.stores.slides import SLIDE_SUFFIXES
from cohortseg.stores.tables import read_json, read_yaml, write_tsv

_MICROSCOPES = (".czi", ".nd2", ".lif", ".lof")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".jp2")
_SUFFIXES = (*TIFF_SUFFIXES, *SLIDE_SUFFIXES, *_MICROSCOPES, ".zarr", *_PICTURES)


@dataclass(frozen=True)
class InferOptions:
    """What the command line adds to the settings: one image or a folder, where results go, scale, config file."""

    image_path: Location | None
    image_dir: Path | None
    output_dir: Path | None
    scale: float | None
    config_file: Path | None


def infer_images(options: InferOptions, given: Mapping[str, Any]) -> Iterator[str]:
    """Segment what the options name and yield a line for each image.

    An image of a folder that fails is reported and the others go on. Where `normalise.policy` is cohort, the images of
    the folder are measured before the first is segmented.

    Parameters
    ----------
    given
        Settings of the command line, which win over those of the config file.

    Raises
    ------
    SettingsError
        If options or settings do not fit together.
    CohortsegError
        If the image fails, or, after all others are done, if images of a folder did.
    """
    if (options.image_path is None) == (options.image_dir is None):
        raise SettingsError(
            "exactly one of --image-path and --image-dir is needed",
            f"{'neither' if options.image_path is None else 'both'} are given",
            "Name one image, or one folder of images.",
        )
    settings = _merge_settings(options, given)
    for candidate in settings.candidates():
        find_network(candidate)
    load_network = loader()
    settings = _with_scale(settings, options.scale, load_network)
    if options.image_path is not None:
        if settings.normalise.policy == "cohort":
            raise SettingsError(
                f"normalise.policy is cohort, and {options.image_path.name} is a single image",
                "a folder of images, whose common intensities are taken, was expected",
                "Name the folder with --image-dir, or set normalise.policy to image or fixed.",
            )
        output = options.output_dir or Path(_output_name(options.image_path, settings))
        yield _infer_one(options.image_path, output, load_network, settings)
        return
    yield from _infer_folder(options, load_network, settings)


def _merge_settings(options: InferOptions, given: Mapping[str, Any]) -> SegmentSettings:
    content: dict[str, Any] = {} if options.config_file is None else read_yaml(options.config_file)
    if options.scale is not None and ("diameter" in given or not 0 < options.scale < 1000):
        raise SettingsError(
            f"--scale is {options.scale}" + (" and --diameter is given too" if "diameter" in given else ""),
            "a positive number of network pixels per image pixel, or a diameter, was expected",
            "Give one of the two.",
        )
    if "diameter" in given:
        content = {key: value for key, value in content.items() if key != "diameter_um"}
    merged = content | dict(given)
    if merged.get("model_path") is not None and "model" not in merged:
        merged["model"] = Path(str(merged["model_path"])).name
    settings = load_block(SegmentSettings, merged)
    return load_block(SegmentSettings, settings.overriding({key: merged[key] for key in given}))


def _with_scale(settings: SegmentSettings, scale: float | None, load_network: LoadNetwork) -> SegmentSettings:
    if scale is None:
        return settings
    diameters_px = {load_network(candidate).diameter_px for candidate in settings.candidates()}
    if len(diameters_px) > 1:
        raise SettingsError(
            f"--scale is {scale}, and the networks of `modalities` were trained on different diameters",
            f"one diameter was expected, found {', '.join(f'{px:g}' for px in sorted(diameters_px))} px",
            "Give --diameter, or set modality to one of them in the config file.",
        )
    return settings.model_copy(update={"diameter": diameters_px.pop() / scale, "diameter_um": None})


def _output_name(image: Location, settings: SegmentSettings) -> str:
    channels = "auto" if settings.channels is None else "-".join(map(str, settings.channels))
    name = f"{_stem(image)}_{settings.plane or 0}_{channels}_{settings.model}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)


def _stem(image: Location) -> str:
    return image.name.removesuffix(image.suffix).removesuffix(".ome")


def _infer_one(image: Location, output: Path, load_network: LoadNetwork, settings: SegmentSettings) -> str:
    with progress_bar(image.name) as on_progress:
        tally = segment_file(
            image,
            output / "polygons.parquet",
            output / "metadata.json",
            load_network,
            settings,
            sample=_stem(image),
            z_index=None,
            on_progress=on_progress,
        )
    return f"{image.name}: {tally.cells} cells in {output}"


def _infer_folder(options: InferOptions, load_network: LoadNetwork, settings: SegmentSettings) -> Iterator[str]:
    folder = Path(str(options.image_dir))
    images = _images_of(folder)
    output = options.output_dir or _beside(folder)
    configs = output / "configs.yml"
    # What the user has filled in there stays when the folder is segmented again.
    z_indices = dict(read_order(configs)) if configs.is_file() else {}
    write_configs(configs, [(_stem(image), z_indices.get(_stem(image))) for image in images])
    tables = []
    if settings.normalise.policy == "cohort":
        tables = [str(output / "intensities.tsv")]
        _measure_folder(images, output, load_network, settings)
        yield f"{folder.name}: intensities of {len(images)} images in {tables[0]}"
    failures = []
    for image in images:
        try:
            own = settled(settings, _stem(image), tables)
            yield _infer_one(image, output / _stem(image), load_network, own)
        except CohortsegError as error:
            failures.append(image.name)
            yield f"{image.name}: FAILED: {error}"
    if failures:
        raise ImageError(
            f"{len(failures)} of {len(images)} images failed: {', '.join(failures)}",
            "the others are done",
            "See the lines above for each cause.",
        )


def _measure_folder(images: Sequence[Path], output: Path, load_network: LoadNetwork, settings: SegmentSettings) -> None:
    """Write intensities.json of each image and intensities.tsv of all, as the workflow does before it segments."""
    here = {name: getattr(settings, name) for name in ("device", "backend", "precision")}

    def load(on_cpu: SegmentSettings) -> Network:
        return load_network(on_cpu.model_copy(update=here))  # the one that segments afterwards

    files = [output / _stem(image) / "intensities.json" for image in images]
    for image, file in zip(images, files, strict=True):
        measure_file(image, file, load, settings, sample=_stem(image))
    write_tsv(output / "intensities.tsv", tabulate_intensities([read_json(file) for file in files]))


def _beside(folder: Path) -> Path:
    """Return the default place of a folder's results, also where the folder is given as `.` or `..`."""
    resolved = folder if folder.name not in ("", "..") else folder.resolve()
    return resolved.parent / f"{resolved.name}_results"


def _images_of(folder: Path) -> list[Path]:
    """Return the images of a folder by name, after checking that each has a name of its own."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder", "--image-dir names a folder of images", "Correct the path.")
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")
    if not images:
        raise MissingFileError(
            f"{folder} holds no images", f"files ending in {', '.join(_SUFFIXES)} were expected", "Correct the path."
        )
    stems = [_stem(image) for image in images]
    repeated = sorted({stem for stem in stems if stems.count(stem) > 1})
    if repeated:
        raise SettingsError(
            f"several images in {folder} are called {', '.join(repeated)}",
            "each image's results go to a folder of its name",
            "Rename them, or segment them one by one with --image-path.",
        )
    return images
