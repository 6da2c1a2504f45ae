"""What an archive says of itself: the entities of ro-crate-metadata.json, by RO-Crate 1.2 (w3id.org/ro/crate/1.2)."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from cohortseg.steps.provenance import describe_code
from cohortseg.stores.archives import Packed

METADATA_NAME = "ro-crate-metadata.json"

_SPECIFICATION = "https://w3id.org/ro/crate/1.2"
_SPDX = "https://spdx.org/licenses/"
_FORMATS = {
    ".geojson": "application/geo+json",
    ".h5ad": "application/x-hdf5",
    ".html": "text/html",
    ".csv": "text/csv",
    ".json": "application/json",
    ".log": "text/plain",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".sha256": "text/plain",
    ".tif": "image/tiff",
    ".tsv": "text/tab-separated-values",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}
_MEANINGS = {
    "polygons.parquet": "Outlines of the cells (GeoParquet)",
    "cells.parquet": "Shape and intensity of each cell",
    "cells.csv": "Shape and intensity of each cell, as text",
    "neighbours.parquet": "Pairs of cells that are near each other",
    "cells.h5ad": "Shape and intensity of each cell (AnnData)",
    "cells.geojson": "Outlines of the cells with their measurements (GeoJSON, as QuPath has it)",
    "xenium.geojson": "Outlines of the cells in micrometres (GeoJSON, for Xenium Ranger)",
    "rois.zip": "Outlines of the cells (ROIs of ImageJ)",
    "spatialdata.zarr": "Image, labels, outlines and measurements (SpatialData)",
    "quality.json": "What tells whether to trust an image and its cells",
    "metadata.json": "What was segmented, with what, and how",
    "mask.zarr": "Label image of the cells (OME-Zarr); the value is the cell_id",
    "3d_polygons.parquet": "Outlines of the 3D cells in each plane (GeoParquet)",
    "objects.parquet": "One row for each 3D cell",
    "3d_mask.zarr": "Label image of the 3D cells (OME-Zarr)",
    "summary.tsv": "One row for each image, with what looks wrong with it",
    "flags.tsv": "What people said of single cells while they looked at them",
    "report.html": "The cohort on one page",
    "manifest.sha256": "SHA-256 of the other files, for sha256sum --check",
}

Entity = dict[str, Any]


@dataclass(frozen=True)
class Cohort:
    """What the metadata of an archive are made from.

    Attributes
    ----------
    title, license, creator
        As the settings have them.
    published
        When the newest result was written, ISO 8601, UTC.
    samples, stacks
        By name: metadata.json of a sample, link_report.json of a stack.
    """

    title: str
    license: str | None
    creator: str | None
    published: str
    samples: Mapping[str, Mapping[str, Any]]
    stacks: Mapping[str, Mapping[str, Any]]


def crate_metadata(cohort: Cohort, packed: Sequence[Packed]) -> dict[str, Any]:
    """Return the content of ro-crate-metadata.json.

    Each sample and each stack is a data set with the files of its folder, made by one action: by that version of
    cohortseg, from that image and network, each with its checksum. A zarr folder is one data set; the manifest has the
    checksums of its files.
    """
    graph: dict[str, Entity] = {}
    parts = _add_data(graph, packed)
    actions = [_add_sample(graph, name, facts) for name, facts in cohort.samples.items()]
    actions += [_add_stack(graph, name, facts) for name, facts in cohort.stacks.items()]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": cohort.title,
        "description": f"Cells of {len(cohort.samples)} images and {len(cohort.stacks)} stacks of images.",
        "datePublished": cohort.published,
        "license": _add_license(graph, cohort.license),
        "hasPart": _links(parts),
        "mentions": _links(actions),
    }
    if cohort.creator is not None:
        root["creditText"] = cohort.creator
    descriptor = {
        "@id": METADATA_NAME,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": _SPECIFICATION},
    }
    return {"@context": f"{_SPECIFICATION}/context", "@graph": [descriptor, root, *graph.values()]}


def _add_data(graph: dict[str, Entity], packed: Iterable[Packed]) -> list[str]:
    """Add all files, in data sets of their folders, and return the outermost."""
    members: dict[str, dict[str, None]] = {}
    for file in packed:
        path = PurePosixPath(file.name)
        stores = [folder for folder in path.parents if folder.suffix == ".zarr"]
        place = stores[-1] if stores else path
        inner = _add(graph, _data_set(place) if stores else _file(file))
        for folder in place.parents:
            outer = "./" if folder == PurePosixPath() else _add(graph, _data_set(folder))
            members.setdefault(outer, {})[inner] = None
            inner = outer
    outermost = members.pop("./")
    for folder_id, inside in members.items():
        graph[folder_id]["hasPart"] = _links(inside)
    return list(outermost)


def _file(file: Packed) -> Entity:
    path = PurePosixPath(file.name)
    return {
        "@id": quote(file.name),
        "@type": "File",
        "name": path.name,
        **_meaning(path),
        "encodingFormat": _FORMATS.get(path.suffix, "application/octet-stream"),
        "contentSize": str(file.size_bytes),
        "sha256": file.sha256,
    }


def _data_set(folder: PurePosixPath) -> Entity:
    return {"@id": f"{quote(str(folder))}/", "@type": "Dataset", "name": folder.name, **_meaning(folder)}


def _meaning(path: PurePosixPath) -> Entity:
    return {"description": _MEANINGS[path.name]} if path.name in _MEANINGS else {}


def _add_sample(graph: dict[str, Entity], name: str, facts: Mapping[str, Any]) -> str:
    """Add how the cells of an image came about, and return the action."""
    action: Entity = {
        "@id": f"#segment-{name}",
        "@type": "CreateAction",
        "name": f"Segmentation of {name}",
        "instrument": {"@id": _add_software(graph, facts["code"], facts["versions"])},
        "object": _links([_add_image(graph, name, facts), _add_network(graph, facts["model"])]),
        "result": {"@id": f"results/{quote(name)}/"},
    }
    return _add(graph, action)


def _add_stack(graph: dict[str, Entity], name: str, facts: Mapping[str, Any]) -> str:
    action: Entity = {
        "@id": f"#stitch-{name}",
        "@type": "CreateAction",
        "name": f"Linking of the planes of {name}",
        "instrument": {"@id": _add_software(graph, facts["code"], {})},
        "object": _links(f"results/{quote(plane['sample'])}/" for plane in facts["made_from"]),
        "result": {"@id": f"results/stacks/{quote(name)}/"},
    }
    return _add(graph, action)


def _add_software(graph: dict[str, Entity], code: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    libraries = sorted(f"{library} {version}" for library, version in versions.items() if library != "cohortseg")
    entity: Entity = {
        "@type": "SoftwareApplication",
        "name": describe_code(code),
        "softwareVersion": code["version"],
        "license": {"@id": f"{_SPDX}BSD-3-Clause"},
    }
    _add(graph, _license(f"{_SPDX}BSD-3-Clause"))
    if code["commit"] is not None:
        entity["identifier"] = code["commit"]
    if libraries:
        entity["softwareRequirements"] = libraries
    return _numbered(graph, "#cohortseg", entity)


def _add_image(graph: dict[str, Entity], name: str, facts: Mapping[str, Any]) -> str:
    """Add the image of a sample, which is not in the archive, with what tells its bytes."""
    entity: Entity = {"@id": f"#image-{name}", "@type": "CreativeWork", "name": facts["image"]}
    checksum = facts["image_checksum"]
    if checksum is not None:
        entity["contentSize"] = str(checksum["size_bytes"])
        if checksum["sha256"] is not None:
            entity["sha256"] = checksum["sha256"]
        else:
            entity["identifier"] = f"sampled_sha256:{checksum['sampled_sha256']}"
    return _add(graph, entity)


def _add_network(graph: dict[str, Entity], model: Mapping[str, Any]) -> str:
    name = f"Network {model['name']}"
    return _numbered(graph, "#network", {"@type": "CreativeWork", "name": name, "sha256": model["sha256"]})


def _add_license(graph: dict[str, Entity], license: str | None) -> Any:
    """Return what the root says of its licence, which it has to: a link, or that none is stated."""
    if license is None:
        return "No licence is stated."
    return {"@id": _add(graph, _license(license if "://" in license else f"{_SPDX}{license}"))}


def _license(url: str) -> Entity:
    return {"@id": url, "@type": "CreativeWork", "name": url.removeprefix(_SPDX)}


def _numbered(graph: dict[str, Entity], prefix: str, entity: Entity) -> str:
    """Add an entity that many share, under a name made of its content, once."""
    told = hashlib.sha256(json.dumps(entity, sort_keys=True).encode()).hexdigest()[:12]
    return _add(graph, {"@id": f"{prefix}-{told}", **entity})


def _add(graph: dict[str, Entity], entity: Entity) -> str:
    graph.setdefault(entity["@id"], entity)
    return str(entity["@id"])


def _links(ids: Iterable[str]) -> list[Entity]:
    return [{"@id": name} for name in ids]
