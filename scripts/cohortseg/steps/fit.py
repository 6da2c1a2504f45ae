"""Step fit, and `cohortseg train`: labelled images in, a network out."""

import logging
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cohortseg import __version__
from cohortseg.errors import SampleSheetError, SettingsError
from cohortseg.networks import Checkpoint, load_checkpoint, pick_device, save_checkpoint, use_threads
from cohortseg.networks.devices import device_name
from cohortseg.report import loss_png
from cohortseg.settings import load_block
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps.examples import keep_example, read_example
from cohortseg.steps.job import run_job
from cohortseg.steps.training import find_start, samples_of_split
from cohortseg.stores.atomic import atomic_path
from cohortseg.stores.tables import write_bytes, write_json, write_tsv
from cohortseg.train.crops import Example
from cohortseg.train.loop import Progress, train
from cohortseg.train.state import TrainingState, examples_digest, load_state, save_state

_STATE, _LOSSES, _CURVE, _NETWORK, _RECORD = "training_state.pt", "loss.tsv", "loss.png", "model.pt", "model.json"
_EXAMPLES = "examples"


@dataclass(frozen=True)
class TrainOptions:
    """What the command line asks for.

    Attributes
    ----------
    sheet
        Training sheet; its rows of split `train` are learned from.
    output
        Folder of the results.
    settings
        How to train.
    device
        `auto`, `cuda` or `cpu`.
    threads
        Of the forward and backward pass on a CPU; None for one a core.
    earlier
        What to do where `output` holds a training that was begun: `refuse` it, `resume` it, which must be the same, or
        `resume or restart`, which begins anew where it is another.
    """

    sheet: Path
    output: Path
    settings: TrainSettings
    device: str
    threads: int | None
    earlier: Literal["refuse", "resume", "resume or restart"]


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow; one that was killed goes on."""

    def step() -> None:
        settings = load_block(TrainSettings, snakemake.params.settings)
        checkpoint = Path(snakemake.output.checkpoint)
        options = TrainOptions(
            Path(snakemake.input.sheet),
            checkpoint.parent,
            settings,
            snakemake.params.device,
            snakemake.threads,
            "resume or restart",
        )
        train_network(options, logging.getLogger("cohortseg").info)

    run_job(snakemake, step)


def train_network(options: TrainOptions, say: Callable[[str], None]) -> Path:
    """Train a network and return its checkpoint.

    The folder receives, each file complete or not at all: `training_state.pt`, `loss.tsv` and `loss.png` every
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
    samples = samples_of_split(options.sheet, "train")
    device, threads = pick_device(options.device), options.threads or os.cpu_count() or 1
    use_threads(threads)
    earlier = _earlier_state(options)
    settings, start = _begin(options.settings)
    say(f"reading {len(samples)} images")
    cache = options.output / _EXAMPLES
    examples = [keep_example(read_example(sample, settings), cache / sample.sample) for sample in samples]
    n_faulty = sum(example.untaught.size for example in examples)
    if n_faulty:
        say(f"{n_faulty} cells are flagged as faulty and do not teach")
    n_inputs = _n_inputs(samples, examples, None if start is None else start.n_inputs)
    run = _Run(options.output, settings, examples_digest(examples), say)
    parts = None if earlier is None else run.go_on_from(earlier, anew=options.earlier == "resume or restart")
    begun = None if start is None else start.network
    network = train(examples, settings, device=device, start=begun, state=parts, on_checkpoint=run.keep)
    checkpoint = options.output / _NETWORK
    with atomic_path(checkpoint) as temporary:
        save_checkpoint(temporary, network, n_inputs)
    shutil.rmtree(cache)
    facts = {
        "sha256": load_checkpoint(checkpoint).sha256,
        "started_from_sha256": None if start is None else start.sha256,
        "settings": settings.model_dump(mode="json"),
        "images": dict(sorted(Counter(example.kind for example in examples).items())),
        "cells": sum(int(example.labels.max()) for example in examples) - n_faulty,
        "cells_left_out": n_faulty,
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

    def go_on_from(self, earlier: TrainingState, *, anew: bool) -> dict[str, Any] | None:
        """Take over an earlier run of the same training and return what `train` goes on from.

        An earlier run of another training is refused, or, with `anew`, left behind: None.
        """
        try:
            earlier.require_same(self._settings, self._examples_sha256)
        except SettingsError as error:
            if not anew:
                raise
            self._say(f"beginning anew: {error.found}")
            return None
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
        losses = pd.DataFrame(self.history)
        write_tsv(self._folder / _LOSSES, losses)
        write_bytes(self._folder / _CURVE, loss_png(losses))
        self._say(_progress_line(self.history, self._settings))


def _begin(settings: TrainSettings) -> tuple[TrainSettings, Checkpoint | None]:
    """Return the settings with what they take from the network that is fine-tuned, and that network."""
    if settings.start_from is None:
        return settings, None
    start = load_checkpoint(find_start(settings.start_from))
    if start.network.widths[0] != settings.widths[0]:
        raise SettingsError(
            f"{settings.start_from} takes {start.network.widths[0]} channels",
            f"networks of {settings.widths[0]} can be trained",
            "Set start_from to another network.",
        )
    learned = {"widths": start.network.widths, "diameter_px": start.diameter_px}
    return settings.model_copy(update=learned), start


def _n_inputs(samples: Sequence[TrainingSample], examples: Sequence[Example], begun_with: int | None) -> int:
    """Return how many channels the network learns from, which must be as many in every image."""
    found = {1 if e.is_colour else len(e.image): s.sample for s, e in zip(samples, examples, strict=True)}
    if len(found) > 1:
        raise SampleSheetError(
            f"images give different numbers of channels: {found[1]} one, {found[2]} two",
            "as many channels of every image were expected",
            "Set channels in the training sheet.",
        )
    return max(*found, begun_with or 1)


def _earlier_state(options: TrainOptions) -> TrainingState | None:
    path = options.output / _STATE
    if not path.is_file():
        return None
    if options.earlier == "refuse":
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
