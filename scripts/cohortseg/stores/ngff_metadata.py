"""What the attributes of OME-Zarr groups and zarr arrays say of their axes, channels and pixel sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zarr

from cohortseg.errors import ImageError
from cohortseg.stores.axes import check_index
from cohortseg.stores.units import length_um, square_pixel_um

UNNAMED_AXES = {2: "YX", 3: "CYX", 4: "CZYX", 5: "TCZYX"}
"""By number of dimensions, where nothing names the axes: the order of OME-Zarr, a third axis being the channel."""

CHANNEL_LAST_AXES = {3: "YXC", 4: "ZYXC", 5: "TZYXC"}

OTHER_AXIS = "P"
"""Letter of an axis whose name means nothing to us: it counts planes."""

SMALLEST_IMAGE_SIDE_PX = 5
"""An array narrower than this whose first axis is longer surely has its channels last."""


@dataclass(frozen=True)
class Multiscale:
    """One level of a multiscale image, as its group's attributes describe it."""

    name: str
    path: str
    axes: str
    channels: tuple[str, ...]
    pixel_size_um: float | None
    z_step_um: float | None
    version: str
    n_levels: int

    @classmethod
    def of_group(cls, name: str, attributes: Mapping[str, Any], series: int, level: int) -> "Multiscale":
        """Parse a group's OME attributes (for 0.5 those under `ome`).

        Raises
        ------
        ImageError
            The group is not an image, its metadata is damaged, or the series or level is not there.
        """
        images = attributes.get("multiscales")
        if not images:
            raise ImageError(
                f"{name} is a group without multiscales metadata",
                "expected an OME-Zarr image or a zarr array",
                "Set image to the folder of one image inside it.",
            )
        try:
            check_index(name, "series", series, [str(each.get("name", "unnamed")) for each in images])
            image = images[series]
            check_index(name, "level", level, [str(each["path"]) for each in image["datasets"]])
            return cls._parsed(name, attributes, image, image["datasets"][level])
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(
                f"{name} has damaged multiscales metadata: {type(error).__name__} {error}",
                "expected OME-Zarr 0.1 to 0.5",
                "Export the image again.",
            ) from error

    @classmethod
    def _parsed(
        cls, name: str, attributes: Mapping[str, Any], image: Mapping[str, Any], dataset: Mapping[str, Any]
    ) -> "Multiscale":
        # axes are absent in 0.1 and 0.2, texts in 0.3, objects since 0.4
        listed = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in image.get("axes", "tczyx")]
        scale = [1.0] * len(listed)
        transforms = [*dataset.get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]
        for transform in transforms:
            if transform.get("type") == "scale":
                scale = [a * float(b) for a, b in zip(scale, transform["scale"], strict=True)]
        letters = [str(axis["name"]).upper() for axis in listed]
        sizes = {
            letter: (size, str(axis.get("unit", ""))) for letter, size, axis in zip(letters, scale, listed, strict=True)
        }
        (y, unit), (x, x_unit) = sizes["Y"], sizes["X"]
        channels = (attributes.get("omero") or {}).get("channels") or []
        return cls(
            name=name,
            path=str(dataset["path"]),
            axes="".join(letter if letter in set("TCZYX") else OTHER_AXIS for letter in letters),
            channels=tuple(str(each.get("label") or i) for i, each in enumerate(channels)),
            pixel_size_um=square_pixel_um(y, x, unit) if unit == x_unit else None,
            z_step_um=length_um(*sizes.get("Z", (None, ""))),
            version=str(image.get("version") or attributes.get("version") or "0.1"),
            n_levels=len(image["datasets"]),
        )

    def array(self, group: zarr.Group) -> "zarr.Array[Any]":
        """Open the level's array.

        Raises
        ------
        ImageError
            The array is not there or its metadata is damaged.
        """
        try:
            array = group[self.path]
        except Exception as error:  # zarr raises whatever it runs into in damaged metadata
            raise self._no_array(f"{type(error).__name__} {error}") from error
        if not isinstance(array, zarr.Array):
            raise self._no_array("it is a group")
        return array

    def _no_array(self, cause: str) -> ImageError:
        return ImageError(
            f"level {self.path} of {self.name} cannot be opened: {cause}",
            "expected the arrays that the multiscales metadata lists",
            "Copy or export the image again.",
        )


def array_axes(name: str, array: "zarr.Array[Any]", channel_last: bool) -> str:
    """Return one letter for each axis of an array without OME metadata.

    Names come from `dimension_names` (zarr v3) or `_ARRAY_DIMENSIONS` (xarray) where they hold y and x, else from
    the number of dimensions.

    Raises
    ------
    ImageError
        There are fewer than two or more than five axes, or the channels seem to be last without `channel_last`.
    """
    given = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    letters = [str(each).upper() for each in given] if isinstance(given, list | tuple) else []
    if len(letters) == array.ndim and letters.count("Y") == letters.count("X") == 1:
        return "".join(letter if letter in set("TCZYX") else OTHER_AXIS for letter in letters)
    axes = (CHANNEL_LAST_AXES if channel_last and array.ndim > 2 else UNNAMED_AXES).get(array.ndim)
    if axes is None:
        raise ImageError(
            f"{name} has {array.ndim} axes without names",
            "expected 2 to 5, ending in y, x",
            "Save it as OME-Zarr, which names its axes.",
        )
    if axes == "CYX" and array.shape[2] < SMALLEST_IMAGE_SIDE_PX <= array.shape[0]:
        raise ImageError(
            f"{name} has the shape {array.shape}, an image {array.shape[2]} pixels wide",
            "expected (channel, y, x)",
            "Set channel_last: true in config/config.yaml if the last axis is the channel.",
        )
    return axes
