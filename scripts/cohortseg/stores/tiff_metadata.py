"""Channel names and pixel sizes that TIFF files carry, in the dialects microscopes write."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import tifffile

from cohortseg.stores.units import length_um, square_pixel_um

CENTIMETRE_TAG_VALUE = 3
"""ResolutionUnit 3 of TIFF 6.0. Its inch is not trusted: it is the default of software that knows no scale."""


def tiff_pixel_size_um(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int) -> float | None:
    """Return the pixel size at full resolution of a series: from OME-XML, ImageJ, Aperio, or a tag in centimetres."""
    if series.kind == "ome":
        pixels = _ome_pixels(tif, series, index)
        if pixels is None:
            return None
        sizes = [_number(pixels.get(f"PhysicalSize{axis}")) for axis in "YX"]
        units = {pixels.get(f"PhysicalSize{axis}Unit", "um") for axis in "YX"}
        return square_pixel_um(sizes[0], sizes[1], units.pop()) if len(units) == 1 else None
    if series.kind == "svs":
        found = re.search(r"\bMPP\s*=\s*([0-9.]+)", series.keyframe.description) if index == 0 else None
        size = _number(found.group(1)) if found else None
        return square_pixel_um(size, size, "um")
    if tif.imagej_metadata is not None:
        unit = _imagej_unit(tif.imagej_metadata)
    else:
        unit = "cm" if _tag(series, "ResolutionUnit") == CENTIMETRE_TAG_VALUE else ""
    return square_pixel_um(_per_pixel(series, "YResolution"), _per_pixel(series, "XResolution"), unit)


def tiff_z_step_um(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int) -> float | None:
    """Return the distance of planes that are neighbours along z: from OME-XML or ImageJ."""
    if series.kind == "ome":
        pixels = _ome_pixels(tif, series, index)
        if pixels is None:
            return None
        return length_um(_number(pixels.get("PhysicalSizeZ")), pixels.get("PhysicalSizeZUnit", "um"))
    found = tif.imagej_metadata or {}
    spacing = _number(str(found.get("spacing", "")))
    return length_um(None if spacing is None else abs(spacing), _imagej_unit(found))


def tiff_channel_names(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int, pages: Sequence[int]
) -> list[str] | None:
    """Return the names of the channels stored in the given pages of a series, or None where the file has none."""
    names: list[str] = []
    if series.kind == "ome":
        pixels = _ome_pixels(tif, series, index)
        elements = [] if pixels is None else [each for each in pixels if each.tag.endswith("}Channel")]
        names = [each.get("Name") or each.get("Fluor") or str(i) for i, each in enumerate(elements)]
    elif series.kind == "imagej" and tif.imagej_metadata is not None:
        labels = tif.imagej_metadata.get("Labels") or []
        names = [labels[page] for page in pages if page < len(labels) and labels[page]]
    elif series.kind == "qpi":  # Akoya writes XML with the stain's name into each page
        found = [re.search(r"<Name>([^<]+)</Name>", getattr(series[page], "description", "")) for page in pages]
        names = [each.group(1).strip() for each in found if each]
    return names if len(names) == len(pages) else None


def _ome_pixels(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, index: int) -> ElementTree.Element | None:
    # tifffile leaves out images without data, so their number is only trusted where it agrees
    root = ElementTree.fromstring(tif.ome_metadata or "<OME/>")
    images = [each for each in root if each.tag.endswith("}Image")]
    if len(images) != len(tif.series):
        images = [each for each in images if each.get("Name") == series.name]
        index = 0
        if len(images) != 1:
            return None
    return next((each for each in images[index] if each.tag.endswith("}Pixels")), None)


def _imagej_unit(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("unit", "")).replace("\\u00B5", "\N{MICRO SIGN}")


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None  # a size that is no number is a size that the file does not tell


def _tag(series: tifffile.TiffPageSeries, name: str) -> Any:
    tag = series.keyframe.tags.get(name)
    return None if tag is None else tag.value


def _per_pixel(series: tifffile.TiffPageSeries, name: str) -> float | None:
    value = _tag(series, name)
    if not isinstance(value, tuple) or len(value) != 2 or 0 in value:
        return None
    return float(value[1] / value[0])
