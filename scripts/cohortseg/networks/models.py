"""Where the checkpoints of networks lie."""

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from cohortseg.errors import SettingsError
from cohortseg.settings import SegmentSettings
from cohortseg.settings.registry import OWN_NETWORKS_FILE, REGISTRY, NetworkEntry, read_own_networks
from cohortseg.settings.weights import ModelPlaces, Weights, find_weights


def model_folder() -> Path:
    """Return the folder of networks: `$COHORTSEG_MODELS_PATH`, else cohortseg/models in the user's cache.

    The cache is `$XDG_CACHE_HOME`, or ~/.cache. The folder need not be there.
    """
    if given := os.environ.get("COHORTSEG_MODELS_PATH"):
        return Path(os.path.abspath(os.path.expanduser(given)))
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "cohortseg" / "models"


def model_places() -> ModelPlaces:
    """Return the networks that can be named here, and where their files are looked for.

    Besides the model folder, that of Cellpose is looked into: `$CELLPOSE_LOCAL_MODELS_PATH`, or ~/.cellpose/models.

    Raises
    ------
    SettingsError
        If the models.yaml of the model folder is not as it must be.
    """
    cellpose = os.environ.get("CELLPOSE_LOCAL_MODELS_PATH") or os.path.expanduser("~/.cellpose/models")
    return ModelPlaces(
        networks={**REGISTRY, **_own_networks(model_folder() / OWN_NETWORKS_FILE)},
        built_in=str(files("cohortseg.networks") / "models"),
        folders=(str(model_folder()), cellpose),
        is_file=os.path.isfile,
    )


def find_network(settings: SegmentSettings, exists: Callable[[str], bool] | None = None) -> Weights:
    """Return the files of the network that settings name, which are there, or which `exists` trusts to be.

    Raises
    ------
    MissingFileError, SettingsError
        As `find_weights` and `model_places` do.
    """
    return find_weights(settings, model_places(), exists)


def find_checkpoint(settings: SegmentSettings) -> Path:
    """Return the checkpoint file of the network that settings name; raises as `find_network` does."""
    return Path(find_network(settings).checkpoint)


def _own_networks(path: Path) -> Mapping[str, NetworkEntry]:
    if not path.is_file():
        return {}
    found = path.stat()
    return _read_own_networks(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1)
def _read_own_networks(path: Path, changed_ns: int, n_bytes: int) -> Mapping[str, NetworkEntry]:
    """Read models.yaml; a plan asks for every sample of a cohort, so it is kept until the file changes."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(
            f"{path} is not YAML ({reason})", "a block `networks:` was expected", "Correct it."
        ) from error
    return read_own_networks(content if isinstance(content, dict) else {}, str(path))
