"""Where the checkpoints of networks lie."""

import os
from importlib.resources import files
from pathlib import Path

from cohortseg.settings import SegmentSettings
from cohortseg.settings.weights import check_weights


def find_checkpoint(settings: SegmentSettings) -> Path:
    """Return the checkpoint file of the network that settings name: `model_path`, else the one that comes with us.

    Raises
    ------
    MissingFileError, SettingsError
        As `check_weights` does.
    """
    check_weights(settings, os.path.isfile)
    if settings.model_path is not None:
        return Path(settings.model_path)
    return Path(str(files("cohortseg.networks") / "models" / f"{settings.model}.pt"))
