"""The whole config, and the part of it that one segmentation needs."""

import os.path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.blocks import (
    NormaliseSettings,
    PipelineSettings,
    PostprocessSettings,
    QuantifySettings,
    RasteriseSettings,
    ReportSettings,
    StitchSettings,
)
from cohortseg.settings.fields import Channels, Device, FrozenModel, ImageType, setting

Backend = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "fp32", "bf16"]
WeightsPath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A file of weights; `~` is the home folder."""


class SegmentSettings(FrozenModel):
    """Everything that the segmentation of one image depends on, besides the image."""

    model: str = setting(
        "nuclei-mini",
        "Network: nuclei-mini, which comes with the package; with model_path, any name.",
        min_length=1,
        max_length=200,
    )
    model_path: WeightsPath | None = setting(
        None, "Checkpoint file with the network's weights; null: the weights that come with the name.", min_length=1
    )
    size_model_path: WeightsPath | None = setting(
        None,
        "Size model of Cellpose 1 to 3 that goes with model_path; where no diameter is given, it predicts one.",
        min_length=1,
    )
    device: Device = setting(
        "auto", "Where the network runs: auto takes a GPU where there is one; cuda fails without one."
    )
    backend: Backend = setting(
        "auto", "What runs the network: auto takes torch on a GPU and openvino, which is faster there, on a CPU."
    )
    precision: Precision = setting(
        "auto", "Arithmetic of the network: auto takes bf16 where the hardware has it; bf16 fails without it."
    )
    channels: Channels | None = setting(
        None,
        "Names or 0-based indices in the network's order; null: the first channel, or the mean of R, G and B.",
    )
    diameter: float | None = setting(
        None, "Typical diameter of a cell in the image; null: estimated.", unit="px", gt=0, le=100_000
    )
    pixel_size_um: float | None = setting(
        None, "Side of a pixel; null: what the image's metadata say.", unit="µm", gt=0, le=100_000
    )
    modality: str | None = setting(
        None, "Kind of image, such as fluorescence or histology; recorded and reported.", min_length=1, max_length=200
    )
    image_type: ImageType | None = setting(
        None, "How images are opened: tiff, zarr or cv2 (PNG, JPEG, BMP, ...); null: by content and suffix."
    )
    series: int = setting(0, "Series of a TIFF file with several images.", ge=0)
    level: int = setting(0, "Level of a pyramid; 0 is full resolution.", ge=0)
    plane: int = setting(0, "Plane of a file with several z positions or time points, counted over both.", ge=0)
    channel_last: bool = setting(False, "Arrays without axis names have their channels last rather than first.")
    normalise: NormaliseSettings = Field(default_factory=NormaliseSettings, description=NormaliseSettings.__doc__)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings, description=PipelineSettings.__doc__)
    postprocess: PostprocessSettings = Field(
        default_factory=PostprocessSettings, description=PostprocessSettings.__doc__
    )

    @model_validator(mode="after")
    def _backend_has_device(self) -> Self:
        if self.backend == "openvino" and self.device == "cuda":
            raise PydanticCustomError("backend", "Input should be backend auto or torch with device cuda")
        return self

    def decisive(self) -> dict[str, Any]:
        """Return as plain data what decides the result: all but where, by how many hands, and under what name."""
        where = ("device", "backend", "precision", "modality")
        hands = set(PipelineSettings.model_fields) - {"infer_size", "overlap_margin"}
        return self.model_dump(mode="json", exclude=dict.fromkeys(where, True) | {"pipeline": hands})


class Settings(SegmentSettings):
    """The config of a cohort, config/config.yaml."""

    samples: str = setting(
        "config/samples.tsv", "Sample sheet, relative to the working directory or absolute.", min_length=1
    )
    results: str = setting("results", "Folder of the results, relative to the working directory.", min_length=1)
    scatter: int = setting(
        1, "Jobs that an image is cut into, for images too large for one; the cells are the same.", ge=1, le=1000
    )
    rasterise: RasteriseSettings = Field(default_factory=RasteriseSettings, description=RasteriseSettings.__doc__)
    quantify: QuantifySettings = Field(default_factory=QuantifySettings, description=QuantifySettings.__doc__)
    stitch: StitchSettings = Field(default_factory=StitchSettings, description=StitchSettings.__doc__)
    report: ReportSettings = Field(default_factory=ReportSettings, description=ReportSettings.__doc__)

    def segment_settings(self) -> SegmentSettings:
        """Return the part that one segmentation needs."""
        return SegmentSettings(**{name: getattr(self, name) for name in SegmentSettings.model_fields})
