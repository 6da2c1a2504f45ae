"""How an image is converted to OME-Zarr."""

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.fields import FrozenModel, setting


class ConvertSettings(FrozenModel):
    """How the OME-Zarr copy of an image is laid out, and how many hands write it."""

    chunk_px: int = setting(1024, "Side of a chunk, the smallest piece that is read.", unit="px", ge=16, le=8192)
    shard_px: int = setting(
        4096, "Side of a shard, one file on disk; a multiple of chunk_px.", unit="px", ge=16, le=65536
    )
    z_step_um: float | None = setting(
        None, "Distance between neighbouring planes; null: what the image's metadata say.", unit="µm", gt=0
    )
    override_z_step: bool = setting(
        False, "z_step_um holds, whatever the image's metadata say; false: a contradiction is an error."
    )
    n_workers: int = setting(4, "Workers that read and write; the files do not depend on it.", ge=1, le=256)

    @model_validator(mode="after")
    def _whole_chunks(self) -> Self:
        if self.shard_px % self.chunk_px:
            raise PydanticCustomError("shard", "Input should be shard_px a multiple of chunk_px")
        return self
