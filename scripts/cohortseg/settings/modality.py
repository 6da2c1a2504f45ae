"""The table of modalities: what each kind of picture is segmented with, where that differs from the general keys."""

import os.path
from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from cohortseg.settings.fields import Channels, FrozenModel, WeightsPath, setting

ModalityName = Literal["fluorescence", "histology", "grey"]
"""Kinds of pictures: light on dark; colour brightfield of stained sections; phase contrast, DIC, grey brightfield."""

ModalityChoice = Literal["auto", "fluorescence", "histology", "grey"]
"""A kind of picture, or `auto`: told from the image itself."""

MODALITIES: tuple[ModalityName, ...] = ("fluorescence", "histology", "grey")

LEARNED_INVERTED: dict[str, tuple[ModalityName, ...]] = {"nuclei-mini": ("histology", "grey")}
"""Modalities that networks that come with the package see inverted, so that cells are light on dark in all."""


class ModalitySettings(FrozenModel):
    """What images of one modality are segmented with; null: as the general key says."""

    model: str | None = setting(None, "Network; null: the general key.", min_length=1, max_length=200)
    model_path: WeightsPath | None = setting(
        None,
        "Checkpoint file; null: the weights that come with this block's model, else the general key.",
        min_length=1,
    )
    invert: bool | None = setting(None, "Swap light and dark; null: the general key.")
    channels: Channels | None = setting(None, "Names or 0-based indices; null: the general key.")

    def changes(self) -> dict[str, Any]:
        """Return what this block replaces of the general keys.

        A block that names a network takes nothing of the general one: neither its file nor its size model. One with a
        file alone calls the network by the file's name.
        """
        found = {name: getattr(self, name) for name in ("invert", "channels") if getattr(self, name) is not None}
        if self.model is None and self.model_path is None:
            return found
        model = self.model or os.path.basename(str(self.model_path))
        return found | {"model": model, "model_path": self.model_path, "size_model_path": None}


class ModalitiesSettings(FrozenModel):
    """What each modality is segmented with, where that differs from the general keys."""

    fluorescence: ModalitySettings = Field(
        default_factory=ModalitySettings, description="Light cells on dark ground, coloured or not."
    )
    histology: ModalitySettings = Field(default_factory=ModalitySettings, description="Stained sections in colour.")
    grey: ModalitySettings = Field(
        default_factory=ModalitySettings, description="Phase contrast, DIC, brightfield without colour."
    )

    def without(self, keys: Collection[str]) -> dict[str, Any]:
        """Return the table as plain data, with these keys of all blocks emptied: what is above the table says them."""
        return {
            name: {key: None if key in keys else value for key, value in block.items()}
            for name, block in self.model_dump(mode="json").items()
        }
