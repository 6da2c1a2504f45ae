"""Which files hold the weights that settings name, and whether they are there, before anything runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cohortseg.errors import MissingFileError, SettingsError
from cohortseg.settings.load import suggest
from cohortseg.settings.models import SegmentSettings
from cohortseg.settings.registry import NetworkEntry


@dataclass(frozen=True)
class ModelPlaces:
    """The networks that can be named, and where their files are looked for.

    Attributes
    ----------
    networks
        By name.
    built_in
        Folder of the networks that come with the package.
    folders
        Folders of all others, the first one that which `cohortseg models fetch` writes to.
    is_file
        Whether a file is there; apart, so that nothing here reads a disk.
    """

    networks: Mapping[str, NetworkEntry]
    built_in: str
    folders: tuple[str, ...]
    is_file: Callable[[str], bool]

    def find(self, entry: NetworkEntry, file_name: str) -> str | None:
        """Return the path of a network's file in the first folder that has it, None where none has."""
        folders = (self.built_in,) if entry.built_in else self.folders
        paths = (f"{folder}/{file_name}" for folder in folders)
        return next((path for path in paths if self.is_file(path)), None)


@dataclass(frozen=True)
class Weights:
    """The files of a network.

    Attributes
    ----------
    checkpoint
        Path of the network.
    size_model
        Path of the size model that may predict its diameters; None where there is none, or the diameter is given.
    entry
        What is known of a network that was named, None for a checkpoint given by its path.
    """

    checkpoint: str
    size_model: str | None
    entry: NetworkEntry | None

    def paths(self) -> dict[str, str | None]:
        """Return `path` and `size_model_path`, each None where none is used, or it comes with the package."""
        built_in = self.entry is not None and self.entry.built_in
        return {"path": None if built_in else self.checkpoint, "size_model_path": self.size_model}


def find_weights(
    settings: SegmentSettings, places: ModelPlaces, exists: Callable[[str], bool] | None = None
) -> Weights:
    """Return the files of the network that settings name.

    `model_path` and `size_model_path` win over the name. A network found by its name brings its size model along where
    that is there and no diameter is given.

    Parameters
    ----------
    exists
        Whether a file is trusted to be there, which decides what is an error; None for `places.is_file`.

    Raises
    ------
    MissingFileError
        If a file is not there; names it, and the command that fetches it.
    SettingsError
        If the network's name is not known.
    """
    exists = exists or places.is_file
    for key, path in (("model_path", settings.model_path), ("size_model_path", settings.size_model_path)):
        if path is not None and not exists(path):
            raise MissingFileError(
                f"{key} {path} is not a file",
                "it must be a checkpoint of cohortseg or Cellpose, or a size model of Cellpose 1 to 3",
                f"Correct {key} (--{key.replace('_', '-')}), or leave it out.",
            )
    if settings.model_path is not None:
        return Weights(settings.model_path, settings.size_model_path, None)
    if settings.model not in places.networks:
        raise SettingsError(
            f"model '{settings.model}' is not known",
            f"{suggest(settings.model, list(places.networks))}known are: {', '.join(places.networks)}, "
            "or any name together with model_path",
            "Correct model (--model-type), or give the checkpoint with model_path (--model-path).",
        )
    entry = places.networks[settings.model]
    checkpoint = places.find(entry, entry.file_name) or f"{places.folders[0]}/{entry.file_name}"
    if not exists(checkpoint):
        raise _missing(entry, places)
    size_model = settings.size_model_path
    estimates = settings.diameter is None and settings.diameter_um is None
    if size_model is None and estimates and entry.size_model is not None:
        size_model = places.find(entry, entry.size_model)
    return Weights(checkpoint, size_model, entry)


def _missing(entry: NetworkEntry, places: ModelPlaces) -> MissingFileError:
    fetch = f"Run `cohortseg models fetch {entry.name}` where there is a network connection"
    copy = f"Copy {entry.file_name} to {places.folders[0]}"
    return MissingFileError(
        f"the weights of model '{entry.name}' are not here",
        f"{entry.file_name} was expected in {' or '.join(places.folders)}, and nothing is downloaded by itself",
        f"{fetch if entry.url else copy}, or set model_path (--model-path) to your {entry.name} checkpoint.",
    )
