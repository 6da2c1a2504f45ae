"""Settings of a training run."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.fields import setting


class TrainSettings(BaseModel):
    """What a training run needs beside its images; every field is written into the network's record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    widths: tuple[int, ...] = setting(
        (2, 16, 32, 64, 128), "Channels of the input, always 2, and of each level.", min_length=3, max_length=8
    )
    diameter_px: float = setting(
        20.0, "Cells are scaled to this median diameter, in the network's pixels.", unit="px", gt=4, le=1000
    )
    crop_px: int = setting(
        128, "Side of a training crop, in the network's pixels.", unit="px", ge=32, le=4096, multiple_of=16
    )
    batch_size: int = setting(8, "Crops in a step.", ge=1)
    steps: int = setting(6000, "Steps in all.", ge=1)
    learning_rate: float = setting(2e-3, "Peak learning rate of AdamW.", gt=0)
    weight_decay: float = setting(1e-4, "Decoupled weight decay of AdamW.", ge=0)
    warmup_fraction: float = setting(0.03, "Share of the steps in which the rate rises.", ge=0, lt=1)
    average_decay: float = setting(0.998, "Decay per step of the averaged weights.", ge=0, lt=1)
    scale_jitter: float = setting(1.7, "Cells are scaled by 1/this to this, log-uniformly.", ge=1)
    kind_weights: dict[str, float] = setting(
        {"fluorescence": 0.72, "colour_histology": 0.2, "gray_brightfield": 0.08},
        "Share of the crops by kind of image; kinds not named get the mean of these.",
    )
    precision: Literal["fp32", "bf16"] = setting("fp32", "Of the forward pass; bf16 pays where the processor has it.")
    seed: int = setting(1, "Seed of the weights and of every crop.", ge=0)
    checkpoint_every: int = setting(250, "Steps between the states that a run resumes from.", ge=1)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.widths[0] != 2 or min(self.widths) < 1:
            raise PydanticCustomError("widths", "Input should be widths that begin with 2, all positive")
        if self.crop_px % 2 ** (len(self.widths) - 2):
            raise PydanticCustomError("crop", "Input should be crop_px a multiple of 2 for each level but one")
        if any(weight <= 0 for weight in self.kind_weights.values()):
            raise PydanticCustomError("kinds", "Input should be kind_weights above 0")
        return self
