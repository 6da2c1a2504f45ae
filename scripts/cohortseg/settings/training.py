"""Settings of a training run, and of one as part of the workflow."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.fields import NAME_PATTERN, FrozenModel, setting


class TrainSettings(BaseModel):
    """What a training run needs beside its images; every field is written into the network's record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start_from: str | None = setting(
        None,
        "Network to fine-tune: nuclei-mini or a checkpoint file, whose widths and diameter are taken; null: a new one.",
        min_length=1,
    )
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
    schedule: Literal["cosine", "linear", "constant"] = setting(
        "cosine", "How the rate falls after its rise: to zero by a cosine or a line, or not at all."
    )
    weight_decay: float = setting(1e-4, "Decoupled weight decay of AdamW.", ge=0)
    warmup_fraction: float = setting(0.03, "Share of the steps in which the rate rises.", ge=0, lt=1)
    average_decay: float = setting(0.998, "Decay per step of the averaged weights.", ge=0, lt=1)
    scale_jitter: float = setting(1.7, "Cells are scaled by 1/this to this, log-uniformly.", ge=1)
    kind_weights: dict[str, float] = setting(
        {"fluorescence": 0.6, "colour_histology": 0.32, "gray_brightfield": 0.08},
        "Share of the crops by kind of image; kinds not named get the mean of these.",
    )
    inverted_kinds: tuple[str, ...] = setting(
        ("colour_histology", "gray_brightfield"),
        "Kinds of image that are dark on bright and learned inverted, as modalities.*.invert segments them.",
    )
    colour_mix: tuple[float, float, float] = setting(
        (2.0, 4.0, 2.0),
        "Of colour images, each crop shows a mix of R, G and B drawn from the Dirichlet distribution with these.",
    )
    precision: Literal["fp32", "bf16"] = setting("fp32", "Of the forward pass; bf16 pays where the processor has it.")
    n_gpus: int = setting(1, "GPUs that share each batch, where the training runs on GPUs.", ge=1, le=64)
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
        if any(weight <= 0 for weight in self.colour_mix):
            raise PydanticCustomError("mix", "Input should be colour_mix above 0")
        if self.start_from is not None and self.model_fields_set & {"widths", "diameter_px"}:
            raise PydanticCustomError("start", "Input should be start_from without widths and diameter_px")
        return self


class WorkflowTraining(FrozenModel):
    """A network of one's own, trained by `snakemake train`."""

    sheet: str | None = setting(
        None, "Training sheet, relative to the working directory or absolute; null: nothing is trained.", min_length=1
    )
    name: str = setting("my-network", "What the network is called.", pattern=NAME_PATTERN)
    config_file: str | None = setting(
        None, 'YAML file with the keys of a training, see "Training a network"; null: their defaults.', min_length=1
    )
    promote_to: str = setting(
        "networks",
        "Folder of the network in use, `<name>.pt`; a newly trained one replaces it only if it scores better.",
        min_length=1,
    )
