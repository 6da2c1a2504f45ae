"""Names of networks and where their checkpoints lie."""

from importlib.resources import files
from pathlib import Path

from cohortseg.errors import MissingFileError, SettingsError

BUILT_IN = ("nuclei-mini",)
"""Networks that come with the package."""

FROM_FILE = ("cyto", "cyto2", "cyto3", "nuclei")
"""Networks of the Cellpose family whose checkpoints the user brings."""


def find_checkpoint(model: str, model_path: str | None) -> Path:
    """Return the checkpoint file of a network.

    Parameters
    ----------
    model
        A name in `BUILT_IN`, or, with `model_path`, any name.
    model_path
        A checkpoint file, which wins over the name.

    Raises
    ------
    MissingFileError
        If the file is not there, or a network that does not come with the package is named without one.
    SettingsError
        If the name is not known.
    """
    if model_path is not None:
        path = Path(model_path)
        if not path.is_file():
            raise MissingFileError(
                f"model_path {model_path} is not a file",
                "it must be a checkpoint of cohortseg or of Cellpose 1 to 3",
                "Correct model_path (--model-path), or leave it out to use the built-in nuclei-mini.",
            )
        return path
    if model in BUILT_IN:
        return Path(str(files("cohortseg.networks") / "models" / f"{model}.pt"))
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
