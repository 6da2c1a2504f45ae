"""Converting an image of any format to OME-Zarr, for the command line."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from cohortseg.arrays import Box, Image
from cohortseg.errors import ImageError, SettingsError
from cohortseg.settings import ConvertSettings, SegmentSettings
from cohortseg.steps.progress import pixel_bar
from cohortseg.stores.image_zarr import PyramidFacts, write_pyramid
from cohortseg.stores.images import open_image
from cohortseg.stores.location import Location
from cohortseg.stores.source import SIZE_TOLERANCE, ImageSource, PageSelection, contradicts

_MARKS = ("zarr.json", ".zgroup", ".zarray")
"""One of them is in every zarr folder."""


def convert_image(
    image: Location, output: Path, selected: SegmentSettings, settings: ConvertSettings, *, overwrite: bool
) -> str:
    """Write all channels and planes of an image to `output`, and return a line that says what is there.

    Parameters
    ----------
    selected
        How the image is opened: `image_type`, `series`, `level`, `channel_last`, `pixel_size_um`; its plane is not
        looked at.

    Raises
    ------
    SettingsError
        If `output` has another suffix, is there already, or is no OME-Zarr and would be overwritten.
    ImageError
        If the image cannot be read, its planes differ, or its metadata contradict `settings.z_step_um`.
    """
    _check_output(image, output, overwrite)
    page = PageSelection.of(selected)
    with ExitStack() as opened:
        first = opened.enter_context(open_image(image, replace(page, plane=0)))
        planes = [first]
        for plane in range(1, first.n_planes):
            planes.append(opened.enter_context(open_image(image, replace(page, plane=plane))))
            _check_alike(first, planes[-1], plane)
        facts = PyramidFacts(
            name=image.name.removesuffix(image.suffix).removesuffix(".ome"),
            shape=(len(first.channels), len(planes), *first.shape),
            dtype=first.dtype,
            channels=first.channels,
            is_rgb=first.is_rgb,
            pixel_size_um=first.pixel_size_um,
            z_step_um=_z_step_um(first, settings),
        )

        def read(plane: int, channels: Sequence[int], box: Box) -> Image:
            return planes[plane].read(channels, box)

        n_samples = facts.shape[0] * facts.shape[1] * facts.shape[2] * facts.shape[3]
        with pixel_bar(image.name, n_samples) as on_done:
            write_pyramid(output, facts, read, settings, on_done)
    n_channels, n_planes, height, width = facts.shape
    return f"{output}: {n_channels} channels, {n_planes} planes of {height} x {width} px, {facts.dtype}"


def _check_output(image: Location, output: Path, overwrite: bool) -> None:
    if output.suffix != ".zarr":
        raise SettingsError(f"--output is {output}", "a name that ends in .ome.zarr was expected", "Correct --output.")
    if isinstance(image, Path) and output.resolve() == image.resolve():
        raise SettingsError(f"--output is {output}, the image itself", "another folder was expected", "Rename it.")
    if output.exists() and not overwrite:
        raise SettingsError(f"{output} exists", "a new folder was expected", "Add --overwrite to replace it.")
    if output.exists() and not any((output / mark).is_file() for mark in _MARKS):
        raise SettingsError(
            f"{output} is no zarr folder", "only such a folder is overwritten", "Choose another name, or remove it."
        )


def _z_step_um(source: ImageSource, settings: ConvertSettings) -> float | None:
    """Return the distance of planes that holds, of what the image and the settings say."""
    given, stated = settings.z_step_um, source.z_step_um
    if contradicts(given, stated) and not settings.override_z_step:
        raise ImageError(
            f"--z-step-um is {given:g}, and the metadata of {source.path.name} say {stated:.4g} µm",
            f"steps within {SIZE_TOLERANCE:.0%} of one another were expected",
            "Correct or drop it, or add --override-z-step if the metadata are wrong.",
        )
    return stated if given is None else given


def _check_alike(first: ImageSource, other: ImageSource, plane: int) -> None:
    if (other.shape, other.dtype, other.channels) != (first.shape, first.dtype, first.channels):
        raise ImageError(
            f"plane {plane} of {first.path.name} is {other.shape} {other.dtype} with channels {other.channels}",
            f"{first.shape} {first.dtype} with channels {first.channels} was expected, as in plane 0",
            "Export the planes as images of their own.",
        )
