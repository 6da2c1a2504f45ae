"""`cohortseg train`: labelled images in, a network out."""

import os
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohortseg import __version__
from cohortseg.arrays import Box, Labels
from cohortseg.errors import ImageError, MissingFileError, SampleSheetError, SettingsError
from cohortseg.networks import load_checkpoint, pick_device, save_checkpoint, use_threads
from cohortseg.networks.devices import device_name
from cohortseg.segment.inputs import choose_channels, measure_normalisation
from cohortseg.settings import NormaliseSettings, load_block
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import Split, TrainingSample, parse_training_sheet
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.images import open_image
from cohortseg.stores.sheet import read_sheet
from cohortseg.stores.source import FIRST_PAGE
from cohortseg.stores.tables import read_label_image, read_yaml, write_json, write_tsv
from cohortseg.train.crops import Example
from cohortseg.train.loop import Progress, train
from cohortseg.train.state import TrainingState, examples_digest, load_state, save_state

_STATE, _LOSSES, _NETWORK, _RECORD = "training_state.pt", "loss.tsv", "model.pt", "model.json"


@dataclass(frozen=True)
class TrainOptions:
    """What the command line asks for.

    Attributes
    ----------
    sheet
        Training sheet; its rows of split `train` are learned from.
    output
        Folder of the results.
    config_file
        YAML file with keys of TrainSettings; None for the defaults.
    device
        `auto`, `cuda` or `cpu`.
    threads
        Of the forward and backward pass on a CPU; None for one a core.
    resume
        Go on from the state in `output` where there is one.
    """

    sheet: Path
    output: Path
    config_file: Path | None
    device: str
    threads: int | None
    resume: bool


def train_network(options: TrainOptions, say: Callable[[str], None]) -> Path:
    """Train a network and return its checkpoint.

    The folder receives, each file complete or not at all: `training_state.pt` and `loss.tsv` every
    `checkpoint_every` steps; at the end the checkpoint `model.pt`, and `model.json`, its record: settings, images,
    steps, seconds, hardware. A run that was killed goes on with `resume` and ends with the same network.

    Parameters
    ----------
    say
        Receives lines for people.

    Raises
    ------
    SampleSheetError, SettingsError, ImageError, DeviceError
        If the sheet, the config file, an image or the device is not as it must be.
    """
    settings = load_block(TrainSettings, {} if options.config_file is None else read_yaml(options.config_file))
    samples = samples_of_split(options.sheet, "train")
    device, threads = pick_device(options.device), options.threads or os.cpu_count() or 1
    use_threads(threads)
    earlier = _earlier_state(options)
    say(f"reading {len(samples)} images")
    examples = [read_example(sample, settings.diameter_px) for sample in samples]
    run = _Run(options.output, settings, examples_digest(examples), say)
    parts = None if earlier is None else run.go_on_from(earlier)
    network = train(examples, settings, device=device, state=parts, on_checkpoint=run.keep)
    checkpoint = options.output / _NETWORK
    with atomic_path(checkpoint) as temporary:
        save_checkpoint(temporary, network)
    facts = {
        "sha256": load_checkpoint(checkpoint).sha256,
        "settings": settings.model_dump(mode="json"),
        "images": dict(sorted(Counter(example.kind for example in examples).items())),
        "cells": sum(int(example.labels.max()) for example in examples),
    }
    how = {
        "hardware": _describe_hardware(device_name(device), threads),
        "versions": {"cohortseg": __version__, "torch": version("torch")},
    }
    write_json(options.output / _RECORD, facts | asdict(run.history[-1]) | how)
    return checkpoint


class _Run:
    """A training as it is kept in a folder: its state and its losses."""

    def __init__(self, folder: Path, settings: TrainSettings, examples_sha256: str, say: Callable[[str], None]) -> None:
        self.history: list[Progress] = []
        self._folder, self._settings, self._examples_sha256, self._say = folder, settings, examples_sha256, say
        self._before_s = 0.0

    def go_on_from(self, earlier: TrainingState) -> dict[str, Any]:
        """Take over an earlier run of the same training and return what `train` goes on from."""
        earlier.require_same(self._settings, self._examples_sha256)
        self.history = list(earlier.history)
        self._before_s = self.history[-1].seconds_s
        self._say(f"going on after step {self.history[-1].step} of {self._settings.steps}")
        return earlier.parts

    def keep(self, parts: dict[str, Any], progress: Progress) -> None:
        """Write the state and the losses, and say how far the training is."""
        self.history.append(replace(progress, seconds_s=self._before_s + progress.seconds_s))
        settings = self._settings.model_dump(mode="json")
        with atomic_path(self._folder / _STATE) as temporary:
            save_state(temporary, TrainingState(parts, settings, self._examples_sha256, tuple(self.history)))
        write_tsv(self._folder / _LOSSES, pd.DataFrame(self.history))
        self._say(_progress_line(self.history, self._settings))


def samples_of_split(sheet: Path, split: Split) -> list[TrainingSample]:
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
    samples = parse_training_sheet(read_sheet(sheet), str(sheet.absolute().parent), sheet.name, os.path.exists)
    chosen = [sample for sample in samples if sample.split == split]
    if not chosen:
        raise SampleSheetError(
            f"{sheet.name} has no row of split {split}",
            "at least one image was expected",
            f"Set split to {split} for the images that are meant.",
        )
    return chosen


def read_example(sample: TrainingSample, empty_diameter_px: float) -> Example:
    """Read one labelled image as a network will see it when it segments.

    Channels and percentiles are those of a segmentation with the default settings.

    Parameters
    ----------
    empty_diameter_px
        Taken for the diameter of the cells where there are none.

    Raises
    ------
    ImageError
        If a file cannot be read, or image and labels differ in shape.
    """
    labels = read_label_image(Path(sample.labels))
    with open_image(Path(sample.image), FIRST_PAGE) as source:
        if labels.shape != source.shape:
            raise ImageError(
                f"the labels of {sample.sample} are {labels.shape[0]} x {labels.shape[1]} px",
                f"its image is {source.shape[0]} x {source.shape[1]} px",
                "Correct labels in the training sheet.",
            )
        mix = choose_channels(source, None, 1)
        normalisation = measure_normalisation(source, mix, NormaliseSettings())
        (plane,) = mix.sums(source.read(mix.channels, Box(0, 0, *source.shape)))
    (image,) = normalisation.apply(np.array([plane], np.float32))
    diameter_px = median_diameter_px(labels)
    return Example(image, _numbered(labels), diameter_px or empty_diameter_px, sample.kind)


def median_diameter_px(labels: Labels) -> float | None:
    """Return the median diameter of circles with the areas of the cells; None where there are no cells."""
    areas = np.unique(labels[labels > 0], return_counts=True)[1]
    return float(2 * np.sqrt(np.median(areas) / np.pi)) if areas.size else None


def _numbered(labels: Labels) -> Labels:
    """Return the labels numbered from 1 without gaps: crops are warped as float32, which holds no large numbers."""
    values, inverse = np.unique(labels, return_inverse=True)
    first = 0 if values[0] == 0 else 1
    return (inverse.reshape(labels.shape) + first).astype(np.uint32)


def _earlier_state(options: TrainOptions) -> TrainingState | None:
    path = options.output / _STATE
    if not path.is_file():
        return None
    if not options.resume:
        raise SettingsError(
            f"{options.output} holds a training that was begun",
            "a folder without one was expected",
            "Go on from it with --resume, or name another folder with --output.",
        )
    return load_state(path)


def _progress_line(history: Sequence[Progress], settings: TrainSettings) -> str:
    now, before = history[-1], history[-2] if len(history) > 1 else Progress(0, 0.0, 0.0)
    step_s = (now.seconds_s - before.seconds_s) / (now.step - before.step)
    left_min = step_s * (settings.steps - now.step) / 60
    return f"step {now.step} of {settings.steps}, loss {now.loss:.4f}, {step_s:.2f} s a step, {left_min:.0f} min left"


def _describe_hardware(device: str, threads: int) -> str:
    if device != "cpu":
        return device
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {models[0] if models else platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
