"""The state of a training on disk: what a run that was killed goes on from."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch

from cohortseg.errors import CheckpointError, SettingsError
from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example
from cohortseg.train.loop import Progress

_FORMAT = "cohortseg training 1"


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands, and what it was begun with.

    Attributes
    ----------
    parts
        As `train` gives it to `on_checkpoint`.
    settings
        Of the training, as plain data.
    examples_sha256
        Of its images and labels, see `examples_digest`.
    history
        Every progress since the training was begun; the seconds count over all runs.
    """

    parts: dict[str, Any]
    settings: dict[str, Any]
    examples_sha256: str
    history: tuple[Progress, ...]

    def require_same(self, settings: TrainSettings, examples_sha256: str) -> None:
        """Raise SettingsError unless a training with these settings and examples is the one that was begun."""
        now = settings.model_dump(mode="json")
        changed = [f"{key} was {self.settings.get(key)} and is {now[key]}" for key in now if self._differs(key, now)]
        if self.examples_sha256 != examples_sha256:
            changed.append("the images or labels are others")
        if changed:
            raise SettingsError(
                f"the training to be resumed was begun otherwise: {'; '.join(changed)}",
                "the same settings and images were expected",
                "Restore them, or begin a new training in another folder.",
            )

    def _differs(self, key: str, now: dict[str, Any]) -> bool:
        return bool(self.settings.get(key) != now[key])


def examples_digest(examples: Sequence[Example]) -> str:
    """Return a sha256 of all that a training sees of its examples, in their order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr((example.kind, example.diameter_px, example.is_colour, example.image.shape)).encode())
        digest.update(example.image.tobytes())
        digest.update(example.labels.tobytes())
        if example.untaught.size:  # without such cells it is the digest of before there were any
            digest.update(repr(example.untaught.tolist()).encode())
    return digest.hexdigest()


def save_state(path: Path, state: TrainingState) -> None:
    """Write a state, readable with `weights_only=True`."""
    content = {
        "format": _FORMAT,
        "parts": state.parts,
        "settings": state.settings,
        "examples_sha256": state.examples_sha256,
        "history": [astuple(progress) for progress in state.history],
    }
    torch.save(content, path)


def load_state(path: Path) -> TrainingState:
    """Read a state; nothing in the file is executed.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']}")
        history = tuple(Progress(*row) for row in content["history"])
        return TrainingState(content["parts"], content["settings"], content["examples_sha256"], history)
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(
            f"{path.name} cannot be read as the state of a training ({str(error)[:200]})",
            "the file that the earlier run wrote was expected",
            "Delete it to begin anew.",
        ) from error
