"""The blocks of the config: one model for each stage."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.fields import Channels, FrozenModel, as_tuple, setting

Statistic = Literal["mean", "median", "sum", "std", "min", "max"]
Percentile = Annotated[float, Field(ge=0, le=100)]


def each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values, of which a list has none twice."""
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "Input should be a list that names each once")
    return values


class PipelineSettings(FrozenModel):
    """How the image is cut into tiles and how many hands work on them."""

    infer_size: int = setting(
        1024,
        "Side of a tile, counted in the network's pixels; a multiple of 16, at least four times overlap_margin.",
        unit="px",
        ge=64,
        le=8192,
        multiple_of=16,
    )
    overlap_margin: int = setting(
        64, "Halo of a tile on each side, counted in the network's pixels.", unit="px", ge=0, le=2048
    )
    batch_size: int | None = setting(
        None,
        "Tiles that a GPU takes at once; null: as many as its free memory holds. A CPU takes one a core.",
        ge=1,
        le=1024,
    )
    n_read_workers: int = setting(2, "Workers that read tiles ahead of the network.", ge=1, le=256)
    read_queue_size: int = setting(4, "Tiles that are read ahead of the network; bounds the memory.", ge=1, le=1024)
    n_postprocess_processes: int = setting(
        2, "Workers that turn the network's output into cells while the next tiles are inferred.", ge=1, le=256
    )
    postprocess_queue_size: int = setting(
        4, "Windows that may wait for a post-processing worker; bounds the memory.", ge=1, le=1024
    )
    n_merge_tile_processes: int = setting(
        1, "Workers that trace the outlines of the cells once windows are merged.", ge=1, le=256
    )
    scratch_gb: float = setting(
        4.0,
        "Decoded tiles that a job may keep on disk beside its results while it runs, so that percentiles, diameter and "
        "segmentation decode each once; at most a quarter of the free space. 0: none, they are decoded again.",
        unit="GB",
        ge=0,
        le=10_000,
    )

    @model_validator(mode="after")
    def _margin_fits(self) -> Self:
        if self.infer_size < 4 * self.overlap_margin:
            raise PydanticCustomError("margin", "Input should be infer_size >= 4 * overlap_margin")
        return self


class PostprocessSettings(FrozenModel):
    """How flows and cell probabilities become cells."""

    niter: int = setting(200, "Steps for which each pixel follows the flow.", ge=1, le=100_000)
    cellprob_threshold: float = setting(
        0.0, "Pixels above this cell probability belong to cells.", unit="logit", ge=-20, le=20
    )
    flow_threshold: float = setting(
        0.4, "Cells with a larger flow error (mean squared) are dropped; 0 keeps all.", ge=0, le=100
    )
    min_size: int = setting(15, "Cells of fewer pixels are dropped; 0 keeps all.", unit="px", ge=0)
    resample: bool = setting(
        False, "Follow the flow on the image's own grid rather than the network's: smoother outlines, more time."
    )


class RasteriseSettings(FrozenModel):
    """How mask.zarr is laid out on disk, and what else is drawn beside it."""

    chunk_px: int = setting(1024, "Side of a chunk, the smallest piece that is read.", unit="px", ge=64, le=8192)
    shard_px: int = setting(
        4096, "Side of a shard, one file on disk; a multiple of chunk_px.", unit="px", ge=64, le=65536
    )
    zarr_format: Literal[2, 3] = setting(
        3, "Version of zarr: 3 is OME-NGFF 0.5; 2 is OME-NGFF 0.4, for older programs, where each chunk is a file."
    )
    tiff: bool = setting(False, "Also write mask.tif: the labels as one tiled, compressed TIFF, for other programs.")
    boundaries: bool = setting(
        False,
        "Also write boundaries.zarr: mask.zarr with only those pixels of cells that have a 4-neighbour of another "
        "value.",
    )

    @model_validator(mode="after")
    def _whole_chunks(self) -> Self:
        if self.shard_px % self.chunk_px:
            raise PydanticCustomError("shard", "Input should be shard_px a multiple of chunk_px")
        return self


OTHER_TABLES = {"csv": "cells.csv", "neighbours": "neighbours.parquet"}
"""The files that may be beside cells.parquet, by what they hold."""


class QuantifySettings(FrozenModel):
    """What is measured in each cell."""

    channels: Channels | None = setting(None, "Channels whose intensity is measured; null: all of them.")
    statistics: Annotated[tuple[Statistic, ...], BeforeValidator(as_tuple), AfterValidator(each_once)] = setting(
        ("mean",),
        "What is measured of each channel: mean, median, sum, std, min, max; the columns are mean_<channel> and so on.",
    )
    percentiles: Annotated[tuple[Percentile, ...], BeforeValidator(as_tuple), AfterValidator(each_once)] = setting(
        (), "Percentiles that are measured of each channel: [5, 97.5] gives p5_<channel> and p97_5_<channel>.", unit="%"
    )
    ring_px: int | None = setting(
        None,
        "Also measure the pixels of no cell that are at most so far from a cell and nearest to it: "
        "mean_ring_<channel> and so on; null: no ring.",
        unit="px",
        ge=1,
        le=256,
    )
    background: Literal["image", "ring"] | None = setting(
        None,
        "What is subtracted from all but std, of each channel: image, its median outside of cells, nuclei and rings; "
        "ring, its median in the cell's ring, which needs ring_px; null: nothing.",
    )
    neighbours_px: float | None = setting(
        None,
        "Count the cells whose centroids are at most so far away, and list the pairs in neighbours.parquet; null: not.",
        unit="px",
        gt=0,
    )
    neighbours_um: float | None = setting(
        None, "The same in micrometres, in place of neighbours_px; needs the pixel size.", unit="µm", gt=0
    )
    csv: bool = setting(False, "Also write cells.csv: the table of cells as text.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.background == "ring" and self.ring_px is None:
            raise PydanticCustomError("ring", "Input should have ring_px where background is ring")
        if self.neighbours_px is not None and self.neighbours_um is not None:
            raise PydanticCustomError("neighbours", "Input should have neighbours_px or neighbours_um, not both")
        return self

    def others(self) -> dict[str, str]:
        """Return those of `OTHER_TABLES` that are asked for."""
        asked = {"csv": self.csv, "neighbours": (self.neighbours_px or self.neighbours_um) is not None}
        return {name: file for name, file in OTHER_TABLES.items() if asked[name]}


class StitchSettings(FrozenModel):
    """How the cells of neighbouring planes are linked into 3D cells."""

    iou_threshold: float = setting(
        0.5, "Smallest intersection over union of two cells in neighbouring planes that links them.", gt=0, le=1
    )
    rule: Literal["best", "optimal"] = setting(
        "best",
        "best: each cell takes the best of the next plane, one to one. optimal: the one-to-one links with the largest "
        "sum of IoU in each group of cells that overlap.",
    )
    max_gap: int = setting(
        0,
        "Planes, counted by z_index, that a cell may be missing from: cells without a partner in the next plane are "
        "linked across so many.",
        unit="planes",
        ge=0,
        le=100,
    )
    max_distance_um: float | None = setting(
        None,
        "Planes farther apart are not linked; needs z_step_um in the config. null: neighbouring planes are linked "
        "whatever z_index is missing between them.",
        unit="µm",
        gt=0,
    )
    min_planes: int = setting(1, "3D cells in fewer planes are dropped, and counted.", unit="planes", ge=1, le=10_000)
    splits: Literal["flag", "join"] = setting(
        "flag",
        "What becomes of a cell without a partner that lies within a cell of the next plane: flag counts it in "
        "n_splits or n_merges; join gives it that cell's id.",
    )
    split_share: float = setting(
        0.5, "Smallest share of a cell's area within another's that makes it a split or a merge.", gt=0, le=1
    )
    num_process: int = setting(8, "Most workers of one stack; 0 stays in the main process.", ge=0, le=256)
    z_step_um: float | None = setting(
        None,
        "Distance of planes whose z_index differ by one; null: what the images' metadata say, else no volumes in µm³.",
        unit="µm",
        gt=0,
    )
    override_z_step: bool = setting(
        False, "z_step_um holds, whatever the images' metadata say; false: a contradiction is an error."
    )

    @model_validator(mode="after")
    def _distance_known(self) -> Self:
        if self.max_distance_um is not None and self.z_step_um is None:
            raise PydanticCustomError("distance", "Input should have z_step_um where max_distance_um is given")
        return self

    def max_step(self) -> int | None:
        """Return the largest difference of z_index of linked planes that `max_distance_um` allows; None for any."""
        if self.max_distance_um is None or self.z_step_um is None:
            return None
        # 0.3 / 0.1 is a little less than 3
        return int(self.max_distance_um / self.z_step_um + 1e-9)

    def decisive(self) -> dict[str, Any]:
        """Return as plain data what decides the result: all but the number of workers."""
        return self.model_dump(mode="json", exclude={"num_process"})


class ReportSettings(FrozenModel):
    """How the report looks."""

    title: str = setting("cohortseg report", "Title of the report.", min_length=1, max_length=200)
    thumbnail_px: int = setting(512, "Longer side of each sample's picture.", unit="px", ge=64, le=4096)


class ArchiveSettings(FrozenModel):
    """What the archive of the results says of itself, besides what was done."""

    license: str | None = setting(
        None,
        "Licence of the results: an SPDX name such as CC-BY-4.0, or a URL; null: none is stated.",
        pattern=r"^(https?://\S+|[A-Za-z0-9.+-]+)$",
        max_length=200,
    )
    creator: str | None = setting(
        None, "Who made the results, as they are to be cited; null: nobody is named.", min_length=1, max_length=1000
    )
