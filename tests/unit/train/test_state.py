"""A training's state survives the disk, and is refused by another training."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cohortseg.errors import CheckpointError, SettingsError
from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example
from cohortseg.train.loop import Progress, train
from cohortseg.train.state import TrainingState, examples_digest, load_state, save_state


@pytest.fixture
def state(examples: list[Example], tiny: TrainSettings) -> TrainingState:
    """Return the state after 4 of 6 steps."""
    kept: list[TrainingState] = []

    def keep(parts: dict[str, Any], progress: Progress) -> None:
        copy = {key: dict(part) if isinstance(part, dict) else part for key, part in parts.items()}
        kept.append(TrainingState(copy, tiny.model_dump(mode="json"), examples_digest(examples), (progress,)))
        if progress.step == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(examples, tiny, device=torch.device("cpu"), state=None, on_checkpoint=keep)
    return kept[-1]


def test_a_state_read_back_ends_with_the_network_of_an_uninterrupted_training(
    tmp_path: Path, examples: list[Example], tiny: TrainSettings, state: TrainingState
) -> None:
    save_state(tmp_path / "state", state)
    back = load_state(tmp_path / "state")
    assert back.history == state.history
    back.require_same(tiny, examples_digest(examples))
    cpu = torch.device("cpu")
    resumed = train(examples, tiny, device=cpu, state=back.parts, on_checkpoint=lambda *_: None)
    whole = train(examples, tiny, device=cpu, state=None, on_checkpoint=lambda *_: None)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_other_settings_are_named(tiny: TrainSettings, state: TrainingState) -> None:
    with pytest.raises(SettingsError, match="steps was 6 and is 9; seed was 1 and is 5"):
        state.require_same(tiny.model_copy(update={"steps": 9, "seed": 5}), state.examples_sha256)


CHANGES: list[Callable[[Example], Example]] = [
    lambda example: replace(example, image=example.image + np.float32(1e-3)),
    lambda example: replace(example, labels=np.roll(example.labels, 1)),
    lambda example: replace(example, kind="histology"),
    lambda example: replace(example, untaught=np.array([1], np.uint32)),
]


@pytest.mark.parametrize("change", CHANGES, ids=["image", "labels", "kind", "untaught"])
def test_other_images_are_noticed(
    examples: list[Example], tiny: TrainSettings, state: TrainingState, change: Callable[[Example], Example]
) -> None:
    with pytest.raises(SettingsError, match="the images or labels are others"):
        state.require_same(tiny, examples_digest([change(examples[0]), *examples[1:]]))


class Exploit:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_damaged_and_hostile_states_are_refused(tmp_path: Path, state: TrainingState) -> None:
    save_state(tmp_path / "whole", state)
    (tmp_path / "half").write_bytes((tmp_path / "whole").read_bytes()[:5000])
    (tmp_path / "text").write_text("step 4")
    torch.save({"weights": 1}, tmp_path / "other")
    torch.save({"format": "cohortseg training 1", "parts": Exploit(tmp_path / "made")}, tmp_path / "evil")
    for name in ("half", "text", "other", "evil"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be read as the state of a training"):
            load_state(tmp_path / name)
    assert not (tmp_path / "made").exists()
