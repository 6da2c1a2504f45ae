"""What a training is told: its sheet, its settings, the network that it starts from; and its part of the plan."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cohortseg.errors import MissingFileError, SampleSheetError, SettingsError
from cohortseg.networks.models import find_checkpoint
from cohortseg.settings import SegmentSettings, Settings, load_block
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import Split, TrainingSample, parse_training_sheet
from cohortseg.steps.flagged import read_faulty
from cohortseg.stores.sheet import read_sheet
from cohortseg.stores.tables import read_yaml


def plan_training(settings: Settings, exists: Callable[[str], bool]) -> dict[str, Any] | None:
    """Return what the rules `fit` and `promote` have to do, as data that JSON can hold; None without a sheet.

    Returns
    -------
    dict or None
        `sheet`; `start`, the file of the network to fine-tune, in a list that is empty for a new network;
        `train_images` and `test_images`, images, labels and flags; `settings` of the training; `promotion`, what the
        rule `promote` is told; `segment`, how it segments.

    Raises
    ------
    SettingsError, SampleSheetError, MissingFileError
        If the sheet, the settings or the network to start from is not as it must be.
    """
    training = settings.training
    if training.sheet is None:
        return None
    train = read_train_settings(None if training.config_file is None else Path(training.config_file))
    in_use = Path(training.promote_to) / f"{training.name}.pt"
    start = None if train.start_from is None else find_start(train.start_from)
    if start is not None and start.absolute() == in_use.absolute():
        raise SettingsError(
            f"the training starts from {start}, which it replaces when it succeeds",
            "another file was expected, or each run would train anew",
            "Copy the network and set start_from to the copy, or change training.name.",
        )
    chosen = {split: samples_of_split(Path(training.sheet), split, exists) for split in ("train", "test")}
    return {
        "sheet": training.sheet,
        "start": [] if start is None else [str(start)],
        **{
            f"{split}_images": [path for sample in samples for path in (sample.image, sample.labels)]
            + list(dict.fromkeys(sample.flags for sample in samples if sample.flags))
            for split, samples in chosen.items()
        },
        "settings": train.model_dump(mode="json", exclude_unset=True),
        "promotion": {
            "name": training.name,
            "promote_to": training.promote_to,
            "settings": train.model_dump(mode="json", exclude_unset=True),
        },
        "segment": settings.segment_settings().model_dump(mode="json"),
    }


def read_train_settings(config_file: Path | None) -> TrainSettings:
    """Return the settings of a YAML file, or the defaults.

    Raises
    ------
    SettingsError, MissingFileError
        If the file is not there, or has faults, all of them listed.
    """
    return load_block(TrainSettings, {} if config_file is None else read_yaml(config_file))


def samples_of_split(
    sheet: Path, split: Split, exists: Callable[[str], bool] = os.path.exists
) -> Sequence[TrainingSample]:
    """Return the rows of a training sheet that are of a split.

    Raises
    ------
    MissingFileError
        If there is no sheet.
    SampleSheetError
        If it has faults, all of them listed, or no row of the split.
    """
    if not sheet.is_file():
        raise MissingFileError(
            f"{sheet} does not exist", "a training sheet was expected", "Correct the path; see config/README.md."
        )
    # Rows of one cohort name the same file.
    flagged_samples = cache(lambda flags: read_faulty(Path(flags)).keys())
    base = str(sheet.absolute().parent)
    samples = parse_training_sheet(read_sheet(sheet), base, sheet.name, exists, flagged_samples)
    chosen = [sample for sample in samples if sample.split == split]
    if not chosen:
        raise SampleSheetError(
            f"{sheet.name} has no row of split {split}",
            "at least one image was expected",
            f"Set split to {split} for the images that are meant.",
        )
    return chosen


def find_start(name: str) -> Path:
    """Return the checkpoint that a training starts from: a file, or that of a network's name.

    Raises
    ------
    MissingFileError, SettingsError
        If there is no such file or network.
    """
    path = Path(name).expanduser()
    return path if path.is_file() else find_checkpoint(SegmentSettings(model=name))
