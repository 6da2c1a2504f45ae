"""OME-Zarr groups that hold many images: plates, wells, and what bioformats2raw writes."""

from typing import Any

import zarr

from cohortseg.errors import ImageError

BIOFORMATS2RAW = "bioformats2raw.layout"


def ome_attributes(group: zarr.Group) -> dict[str, Any]:
    """Return the OME attributes of a group: under the key `ome` since version 0.5."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def image_paths(name: str, group: zarr.Group) -> list[str]:
    """Return the paths of the images that a plate, well or bioformats2raw group lists; none for any other group.

    Those of a plate are in the order of its wells, then fields of view, such as `B/03/0`.

    Raises
    ------
    ImageError
        The metadata is damaged, or lists what is not there.
    """
    attributes = ome_attributes(group)
    try:
        if "plate" in attributes:
            wells = [str(well["path"]) for well in attributes["plate"]["wells"]]
            return [f"{well}/{field}" for well in wells for field in _fields(open_member(name, group, well))]
        if "well" in attributes:
            return _fields(group)
        if BIOFORMATS2RAW in attributes:
            return _converted_images(name, group)
    except (AttributeError, KeyError, TypeError) as error:
        raise ImageError(
            f"{name} has damaged plate or well metadata: {type(error).__name__} {error}",
            "expected those of OME-Zarr 0.1 to 0.5",
            "Export the plate again, or set image to the folder of one image inside it.",
        ) from error
    return []


def open_member(name: str, group: zarr.Group, path: str) -> zarr.Group:
    """Open a group below another.

    Raises
    ------
    ImageError
        It is not there, or damaged.
    """
    try:
        member = group[path]
    except ImageError:
        raise
    except Exception as error:  # zarr raises whatever it runs into in damaged metadata
        raise ImageError(
            f"{path} of {name} cannot be opened: {type(error).__name__} {error}",
            "expected the groups that its metadata list",
            "Copy or export it again.",
        ) from error
    if not isinstance(member, zarr.Group):
        raise ImageError(f"{path} of {name} is an array", "expected a group", "Export it again.")
    return member


def _fields(well: zarr.Group) -> list[str]:
    return [str(image["path"]) for image in ome_attributes(well)["well"]["images"]]


def _converted_images(name: str, group: zarr.Group) -> list[str]:
    try:
        listed = ome_attributes(open_member(name, group, "OME")).get("series")
    except ImageError:
        listed = None  # the list is optional: images are called 0, 1, ... then
    if listed:
        return [str(path) for path in listed]
    if not group.store.supports_listing:
        raise ImageError(
            f"{name} does not list its images, and its folder cannot be listed over the network",
            "expected series in the attributes of its group OME",
            "Set image to the URL of one image inside it, such as one that ends in /0.",
        )
    return sorted((key for key in group.group_keys() if key.isdigit()), key=int)
