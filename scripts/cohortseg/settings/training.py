"""Settings of a training run."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """What a training run needs beside its images; every field is written into the checkpoint's card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[int, ...] = Field((2, 16, 32, 64, 128), description="Channels of the input and of each level.")
    diameter_px: float = Field(20.0, gt=4, description="Cells are scaled to this median diameter, in network px.")
    crop_px: int = Field(128, ge=32, multiple_of=16, description="Side of a training crop, in network px.")
    batch_size: int = Field(8, ge=1, description="Crops in a step.")
    steps: int = Field(6000, ge=1, description="Steps in all.")
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(1e-4, ge=0, description="Decoupled weight decay of AdamW.")
    warmup_fraction: float = Field(0.03, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    average_decay: float = Field(0.998, ge=0, lt=1, description="Decay per step of the averaged weights.")
    scale_jitter: float = Field(1.7, ge=1, description="Cells are scaled by 1/this to this, log-uniformly.")
    kind_weights: dict[str, float] = Field(
        {"fluorescence": 0.72, "colour_histology": 0.2, "gray_brightfield": 0.08},
        description="Share of the crops by kind of image; kinds not named share the mean of these.",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16 pays where the processor has it.")
    seed: int = Field(1, ge=0, description="Seed of the weights and of every crop.")
    checkpoint_every: int = Field(250, ge=1, description="Steps between checkpoints that a run resumes from.")
