"""Whether the weights that settings name are there, before anything runs."""

from collections.abc import Callable

from cohortseg.errors import MissingFileError, SettingsError
from cohortseg.settings.models import SegmentSettings

BUILT_IN = ("nuclei-mini",)
"""Networks that come with the package."""

FROM_FILE = ("cyto", "cyto2", "cyto3", "nuclei")
"""Networks of the Cellpose family whose checkpoints the user brings."""


def check_weights(settings: SegmentSettings, is_file: Callable[[str], bool]) -> None:
    """Check that the network is known or has a checkpoint, and that the files named are there.

    Raises
    ------
    MissingFileError
        If a file is not there, or a network that does not come with the package is named without one.
    SettingsError
        If the network's name is not known.
    """
    for key, path in (("model_path", settings.model_path), ("size_model_path", settings.size_model_path)):
        if path is not None and not is_file(path):
            raise MissingFileError(
                f"{key} {path} is not a file",
                "it must be a checkpoint of cohortseg or a file of Cellpose 1 to 3",
                f"Correct {key} (--{key.replace('_', '-')}), or leave it out.",
            )
    model = settings.model
    if settings.model_path is not None or model in BUILT_IN:
        return
    if model in FROM_FILE:
        raise MissingFileError(
            f"the weights of model '{model}' do not come with cohortseg",
            "a checkpoint file must be given with it",
            f"Set model_path (--model-path) to your {model} checkpoint, such as ~/.cellpose/models/{model}.",
        )
    raise SettingsError(
        f"model '{model}' is not known",
        f"known are: {', '.join((*BUILT_IN, *FROM_FILE))}, or any name together with model_path",
        "Correct model (--model-type), or give the checkpoint with model_path (--model-path).",
    )
