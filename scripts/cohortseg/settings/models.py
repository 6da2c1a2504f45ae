"""The whole config, and the part of it that one segmentation needs."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.blocks import (
    ArchiveSettings,
    PipelineSettings,
    PostprocessSettings,
    QuantifySettings,
    RasteriseSettings,
    ReportSettings,
    StitchSettings,
)
from cohortseg.settings.compare import CompareSettings
from cohortseg.settings.export import ExportSettings
from cohortseg.settings.fields import Channels, Device, FrozenModel, ImageType, Scatter, WeightsPath, setting
from cohortseg.settings.modality import (
    LEARNED_INVERTED,
    MODALITIES,
    ModalitiesSettings,
    ModalityChoice,
    ModalityName,
    ModalitySettings,
)
from cohortseg.settings.normalise import NormaliseSettings
from cohortseg.settings.qc import QcSettings
from cohortseg.settings.training import WorkflowTraining

Backend = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "fp32", "bf16"]


class SegmentSettings(FrozenModel):
    """Everything that the segmentation of one image depends on, besides the image."""

    model: str = setting(
        "nuclei-mini",
        "Network: a name that `cohortseg models list` knows, such as nuclei-mini; with model_path, any name.",
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
        "Names or 0-based indices in the network's order, a sum as CD45+CD8, a maximum as CD45|CD8; null: the first "
        "channel, or the mean of R, G and B.",
    )
    diameter: float | None = setting(
        None, "Typical diameter of a cell in the image; null: estimated.", unit="px", gt=0, le=100_000
    )
    diameter_um: float | None = setting(
        None, "Typical diameter of a cell, in place of diameter; needs the pixel size.", unit="µm", gt=0, le=100_000
    )
    pixel_size_um: float | None = setting(
        None, "Side of a pixel; null: what the image's metadata say.", unit="µm", gt=0, le=100_000
    )
    override_pixel_size: bool = setting(
        False, "pixel_size_um holds, whatever the image's metadata say; false: a contradiction is an error."
    )
    invert: bool | None = setting(
        None,
        "Swap light and dark, for networks that know light cells on dark; null: as the network learned the modality.",
    )
    modality: ModalityChoice = setting(
        "auto",
        "Kind of image: fluorescence, histology (stained, in colour), grey (phase contrast, DIC); auto: guessed.",
    )
    image_type: ImageType | None = setting(
        None,
        "How images are opened: tiff, zarr, cv2 (PNG, JPEG, BMP, ...), slide (OpenSlide), czi, nd2 or lif; null: by "
        "content and suffix.",
    )
    series: int = setting(0, "Image of a file or plate that holds several.", ge=0)
    level: int = setting(0, "Level of a pyramid; 0 is full resolution.", ge=0)
    plane: int | None = setting(
        None, "Plane of a file with several z positions or time points, counted over both; null: the first.", ge=0
    )
    channel_last: bool = setting(False, "Arrays without axis names have their channels last rather than first.")
    normalise: NormaliseSettings = Field(default_factory=NormaliseSettings, description=NormaliseSettings.__doc__)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings, description=PipelineSettings.__doc__)
    postprocess: PostprocessSettings = Field(
        default_factory=PostprocessSettings, description=PostprocessSettings.__doc__
    )
    modalities: ModalitiesSettings = Field(default_factory=ModalitiesSettings, description=ModalitiesSettings.__doc__)

    @model_validator(mode="after")
    def _backend_has_device(self) -> Self:
        if self.backend == "openvino" and self.device == "cuda":
            raise PydanticCustomError("backend", "Input should be backend auto or torch with device cuda")
        return self

    @model_validator(mode="after")
    def _one_diameter(self) -> Self:
        if self.diameter is not None and self.diameter_um is not None:
            raise PydanticCustomError("diameter", "Input should be one of diameter and diameter_um, not both")
        return self

    def resolved(self, modality: ModalityName) -> Self:
        """Return the settings for an image of a modality: its block of the table applied, and the table empty.

        A key of the block wins over the general key. `invert`, where neither says it, is true for networks that come
        with the package and learned the modality inverted, and false for all others.
        """
        block: ModalitySettings = getattr(self.modalities, modality)
        changed = self.model_copy(update={"modality": modality, **block.changes()})
        learned = changed.model_path is None and modality in LEARNED_INVERTED.get(changed.model, ())
        invert = learned if changed.invert is None else changed.invert
        return changed.model_copy(update={"invert": invert, "modalities": ModalitiesSettings()})

    def candidates(self) -> tuple[Self, ...]:
        """Return the settings that an image may come to be segmented with: one, or with auto one a modality."""
        names = MODALITIES if self.modality == "auto" else (self.modality,)
        return tuple(map(self.resolved, names))

    def overriding(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return these settings as plain data with some replaced, which win over the table of modalities, too.

        A diameter that is replaced takes the place of the other unit's.
        """
        said = set(changes)
        diameters = {"diameter", "diameter_um"}
        unsaid = dict.fromkeys(diameters - said if diameters & said else ())
        if said & {"model", "model_path"}:
            said |= {"model", "model_path"}
        return self.model_dump(mode="json") | {"modalities": self.modalities.without(said)} | unsaid | dict(changes)

    def decisive(self) -> dict[str, Any]:
        """Return as plain data what decides the result: all but where, and by how many hands.

        Of a modality that is given, what its block of the table comes to, so that changes of the others rerun nothing.
        """
        effective = self if self.modality == "auto" else self.resolved(self.modality)
        hands = set(PipelineSettings.model_fields) - {"infer_size", "overlap_margin"}
        where = dict.fromkeys(("device", "backend", "precision"), True)
        return effective.model_dump(mode="json", exclude=where | {"pipeline": hands})


class Settings(SegmentSettings):
    """The config of a cohort, config/config.yaml."""

    samples: str = setting(
        "config/samples.tsv", "Sample sheet, relative to the working directory or absolute.", min_length=1
    )
    results: str = setting("results", "Folder of the results, relative to the working directory.", min_length=1)
    scatter: Scatter = setting(
        1,
        "Jobs that an image is cut into, for images too large for one; the cells are the same. auto: as many as make "
        "parts of at most part_mpx.",
    )
    part_mpx: int = setting(
        400, "Size of the parts where scatter is auto; smaller images stay whole.", unit="Mpx", ge=1
    )
    batch: int = setting(
        1,
        "Images that one job takes from segmentation to measurements, one after the other, for cohorts of many small "
        "ones; 1: each step of each image is a job of its own.",
        ge=1,
        le=10_000,
    )
    rasterise: RasteriseSettings = Field(default_factory=RasteriseSettings, description=RasteriseSettings.__doc__)
    quantify: QuantifySettings = Field(default_factory=QuantifySettings, description=QuantifySettings.__doc__)
    export: ExportSettings = Field(default_factory=ExportSettings, description=ExportSettings.__doc__)
    stitch: StitchSettings = Field(default_factory=StitchSettings, description=StitchSettings.__doc__)
    report: ReportSettings = Field(default_factory=ReportSettings, description=ReportSettings.__doc__)
    qc: QcSettings = Field(default_factory=QcSettings, description=QcSettings.__doc__)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings, description=ArchiveSettings.__doc__)
    compare: CompareSettings = Field(default_factory=CompareSettings, description=CompareSettings.__doc__)
    training: WorkflowTraining = Field(default_factory=WorkflowTraining, description=WorkflowTraining.__doc__)

    def segment_settings(self) -> SegmentSettings:
        """Return the part that one segmentation needs."""
        return SegmentSettings(**{name: getattr(self, name) for name in SegmentSettings.model_fields})
