"""`cohortseg models`: the networks that can be named, their files fetched and checked."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError, SettingsError
from cohortseg.networks.fetch import fetch, record_path, sha256_of
from cohortseg.networks.models import model_places
from cohortseg.networks.size import load_size_model
from cohortseg.settings.load import suggest
from cohortseg.settings.registry import NetworkEntry
from cohortseg.settings.weights import ModelPlaces
from cohortseg.stores.tables import read_json

_MEGABYTE = 1e6
_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
"""What SLURM, PBS and LSF set inside of a job."""


def list_networks(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return what is known of networks, all by default, and where their files are, None where they are not here.

    `sha256` is the one that the file has to have, `sha256_origin` where it is known from; both None where it is not.

    Raises
    ------
    SettingsError
        If a name is not known.
    """
    places = model_places()
    return [_known(entry, places) for entry in _entries(names, places)]


def _known(entry: NetworkEntry, places: ModelPlaces) -> dict[str, Any]:
    path = places.find(entry, entry.file_name)
    sha256, origin = _expected_sha256(entry, Path(path or entry.file_name), entry.sha256)
    return {
        **entry.model_dump(mode="json"),
        "sha256": sha256,
        "sha256_origin": origin,
        "path": path,
        "bytes": None if path is None else Path(path).stat().st_size,
        "size_model_url": entry.size_model_url,
        "size_model_path": entry.size_model and places.find(entry, entry.size_model),
    }


def describe(network: Mapping[str, Any]) -> list[str]:
    """Return the lines that tell people everything that is known of a network of `list_networks`."""
    sha256 = f"{network['sha256']} ({network['sha256_origin']})" if network["sha256"] else "not known"
    lines = {
        "description": network["description"],
        "family": network["family"],
        "channels": ", ".join(network["channels"]),
        "diameter": f"{network['diameter_px']:g} px",
        "modality": network["modality"],
        "licence": network["licence"],
        "url": "comes with cohortseg" if network["built_in"] else network["url"] or "none",
        "sha256": sha256,
        "here": network["path"] or f"no; its file is {network['file_name']}",
    }
    if network["size_model"]:
        lines["size model"] = network["size_model_path"] or f"not here; its file is {network['size_model']}"
    return [network["name"], *(f"  {key + ':':<13}{value}" for key, value in lines.items())]


def table_of(networks: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a table for people."""
    rows = [("name", "here", "channels", "diameter", "modality", "licence")]
    for each in networks:
        here = "no" if each["bytes"] is None else f"{each['bytes'] / _MEGABYTE:,.0f} MB"
        here += ", no size model" if each["bytes"] and each["size_model"] and not each["size_model_path"] else ""
        channels = ", ".join(each["channels"])
        rows.append((each["name"], here, channels, f"{each['diameter_px']:g} px", each["modality"], each["licence"]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def fetch_networks(names: Sequence[str], *, allow_in_job: bool, say: Callable[[str], None]) -> None:
    """Download the files of networks, checkpoint and size model, that are not here yet, into the model folder.

    Parameters
    ----------
    allow_in_job
        Whether a job of a cluster may download.
    say
        Receives lines for people.

    Raises
    ------
    SettingsError
        If a name is not known, a network has no address, or this is a cluster job and that is not allowed.
    DownloadError
        If a download fails.
    """
    places = model_places()
    for entry in [_entry(name, places) for name in names]:
        files = [_File(entry.file_name, entry.url, entry.sha256, _CHECKS[entry.family])]
        if entry.size_model is not None:
            files.append(_File(entry.size_model, entry.size_model_url, None, load_size_model))
        for file in files:
            if (path := places.find(entry, file.name)) is not None:
                say(f"{entry.name}: {path} is here already")
            else:
                url = _allowed_url(entry, file, places, allow_in_job=allow_in_job)
                say(_fetched(entry, file, url, Path(places.folders[0]) / file.name, say))


@dataclass(frozen=True)
class _File:
    """A file of a network, and what raises CheckpointError where another came."""

    name: str
    url: str | None
    sha256: str | None
    check: Callable[[Path], object]


def _allowed_url(entry: NetworkEntry, file: _File, places: ModelPlaces, *, allow_in_job: bool) -> str:
    if file.url is None:
        raise SettingsError(
            f"model '{entry.name}' has no address to fetch {file.name} from",
            "its file has to be put there by hand",
            f"Copy {file.name} to {places.folders[0]}, or add its url to models.yaml there.",
        )
    job = next((job for name in _JOB_VARIABLES if (job := os.environ.get(name))), None)
    if job and not allow_in_job:
        raise SettingsError(
            f"{file.name} is not here, and this is job {job} of a cluster",
            "networks are fetched before jobs start, on a machine with a network connection",
            "Run the command outside of the job, or add --allow-in-job.",
        )
    return file.url


def _fetched(entry: NetworkEntry, file: _File, url: str, target: Path, say: Callable[[str], None]) -> str:
    shown = [0]

    def show(done: int, total: int | None) -> None:
        if total is not None and total > _MEGABYTE and done * 10 // total > shown[0]:
            shown[0] = done * 10 // total
            say(f"{file.name}: {shown[0] * 10} % of {total / _MEGABYTE:,.0f} MB")

    say(f"{entry.name}: fetching {url}")
    record = fetch(url, target, file.sha256, check=file.check, on_progress=show)
    origin = "as published" if record.published else "not published, recorded for later checks"
    return f"{entry.name}: {target}, {record.bytes / _MEGABYTE:,.1f} MB, sha256 {record.sha256[:12]}… {origin}"


@dataclass(frozen=True)
class Verdict:
    """What was found of one file: whether it is right, and why."""

    name: str
    file: str
    good: bool
    text: str


def verify_networks(names: Sequence[str]) -> list[Verdict]:
    """Check the files of networks: that they load as what they are said to be, and have the sha256 that is known.

    Parameters
    ----------
    names
        Networks whose checkpoints have to be here; none for all that are.

    Raises
    ------
    SettingsError
        If a name is not known.
    """
    places = model_places()
    verdicts = []
    for entry in _entries(names, places):
        path = places.find(entry, entry.file_name)
        if path is not None:
            verdicts.append(_verdict(entry, Path(path), entry.sha256, _LOADERS[entry.family]))
        elif names:
            verdicts.append(Verdict(entry.name, entry.file_name, False, "it is not here"))
        size_path = entry.size_model and places.find(entry, entry.size_model)
        if size_path:
            verdicts.append(_verdict(entry, Path(size_path), None, load_size_model))
    return verdicts


def _verdict(entry: NetworkEntry, path: Path, known_sha256: str | None, load: Callable[[Path], object]) -> Verdict:
    try:
        load(path)
        expected, origin = _expected_sha256(entry, path, known_sha256)
    except CohortsegError as error:
        return Verdict(entry.name, str(path), False, str(error))
    if expected is None:
        return Verdict(entry.name, str(path), True, "it loads; its sha256 is not known")
    found = sha256_of(path)
    if found != expected:
        return Verdict(entry.name, str(path), False, f"its sha256 is {found}, not {expected} ({origin})")
    return Verdict(entry.name, str(path), True, f"it loads, and its sha256 is the one {origin}")


def _expected_sha256(entry: NetworkEntry, path: Path, known: str | None) -> tuple[str | None, str | None]:
    """Return the sha256 that a file has to have, None where none is known, and where it is known from."""
    if known is not None:
        return known, "published"
    if entry.built_in:
        record = path.with_suffix(".json")
        return (read_json(record)["sha256"], "in the record of its training") if record.is_file() else (None, None)
    record = record_path(path)
    if not record.is_file():
        return None, None
    content = read_json(record)
    how = "published" if content.get("published") else "recorded at the first download, not published"
    return str(content.get("sha256")), how


def _load_unet(path: Path) -> None:
    from cohortseg.networks import load_checkpoint

    load_checkpoint(path)


def _load_cellpose4(path: Path) -> None:
    from cohortseg.networks.on_cellpose4 import load_cellpose4

    load_cellpose4(path)


def _check_cellpose4(path: Path) -> None:
    from cohortseg.networks.on_cellpose4 import check_cellpose4

    check_cellpose4(path)


_LOADERS: dict[str, Callable[[Path], None]] = {"residual-unet": _load_unet, "cellpose4": _load_cellpose4}
"""By family: each raises CheckpointError where a file is no such network, or cannot be run here."""
_CHECKS: dict[str, Callable[[Path], None]] = {"residual-unet": _load_unet, "cellpose4": _check_cellpose4}
"""By family: each raises CheckpointError where a file is no such network."""


def _entries(names: Sequence[str], places: ModelPlaces) -> list[NetworkEntry]:
    """Return the networks of these names, all where there are none."""
    return [_entry(name, places) for name in names] or list(places.networks.values())


def _entry(name: str, places: ModelPlaces) -> NetworkEntry:
    if name not in places.networks:
        raise SettingsError(
            f"model '{name}' is not known",
            f"{suggest(name, list(places.networks))}known are: {', '.join(places.networks)}",
            "Correct the name; `cohortseg models list` shows all.",
        )
    return places.networks[name]
