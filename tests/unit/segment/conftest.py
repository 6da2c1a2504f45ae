"""A network that is never wrong, so that what the engine makes of it can be compared bit for bit."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from cohortseg.arrays import Field, Labels
from cohortseg.errors import DeviceError
from cohortseg.kernels.targets import flow_targets
from cohortseg.segment.geometry import Geometry
from cohortseg.segment.inputs import ChannelMix, Normalisation
from cohortseg.segment.stream import Task, stream_cells
from cohortseg.segment.tally import Tally
from cohortseg.settings import SegmentSettings, load_block
from cohortseg.stores.channels import ChannelGroup
from cohortseg.stores.source import ArraySource, ImageFacts
from cohortseg.tiling import WHOLE, Part


@dataclass
class ExactNetwork:
    """Takes an image whose channels are the field itself, so that each pixel's output is that pixel's input.

    Outputs are multiples of 1/64, and so are the weights of tiles with a margin that is a power of two: blending is
    exact then, and what differs between tiled and whole is the engine's fault. Its fields are
    left on `torch_device`, if any.
    """

    diameter_px: float = 8.0
    n_channels: int = 3
    n_inputs: int = 3
    stride_px: int = 8
    size_model: None = None
    scale_free: bool = False
    torch_device: str | None = None
    batches: list[tuple[int, ...]] = field(default_factory=list)
    fails_after: int | None = None
    on_tile: Callable[[], None] = lambda: None

    def forward(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if len(self.batches) == self.fails_after:
            raise DeviceError("the device is lost", "it should not be", "None.")
        self.batches.append(batch.shape)
        return np.round(batch * 64) / np.float32(64), np.zeros((len(batch), 1), np.float32)

    def stream(self, tiles: Iterator[Field], batch_size: int | None) -> Generator[Any, None, None]:
        while batch := list(islice(tiles, batch_size or 1)):
            self.on_tile()
            fields = self.forward(np.stack(batch))[0]
            yield from fields if self.torch_device is None else torch.from_numpy(fields).to(self.torch_device)


@dataclass(frozen=True)
class Segmented:
    """What a pass gave."""

    table: geopandas.GeoDataFrame
    tally: Tally
    n_tables: int
    network: ExactNetwork


class Exact:
    """Segments label images with the exact network."""

    network = ExactNetwork

    @staticmethod
    def field(labels: Labels) -> Field:
        """Return the (3, y, x) field of labels, flows five times a unit step, logits of plus and minus 6."""
        logits = np.where(labels > 0, np.float32(6), np.float32(-6))
        return np.concatenate([5 * flow_targets(labels), logits[None]])

    @staticmethod
    def crowd(shape: tuple[int, int], *, pitch_px: float, radius_px: float, seed: int) -> Labels:
        """Return cells that touch, also on every border and corner, with an empty stretch in the middle.

        Cells are the pixels within `radius_px` of a site of a shaken grid, and nearest to it.
        """
        rng = np.random.default_rng(seed)
        lines = [np.linspace(0, length - 1, max(2, round(length / pitch_px))) for length in shape]
        sites = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 2)
        on_rim = ((sites == 0) | (sites == np.subtract(shape, 1))).any(axis=1, keepdims=True)
        sites = sites + np.where(on_rim, 0, rng.uniform(-0.2, 0.2, sites.shape) * pitch_px)
        pixels = np.stack(np.indices(shape), axis=-1).reshape(-1, 2)
        distance, nearest = cKDTree(sites).query(pixels)
        labels = np.where(distance <= radius_px, nearest + 1, 0).reshape(shape).astype(np.uint32)
        inside = np.abs(sites / shape - 0.5).max(axis=1) < 0.2
        labels[np.isin(labels, np.flatnonzero(inside) + 1)] = 0
        return labels

    @staticmethod
    def task(pixels: Field, network: ExactNetwork, *, scale: float, **settings: Any) -> Task:
        """Return the task of segmenting pixels that are a field."""
        facts = ImageFacts(
            path=Path("made"),
            shape=(pixels.shape[1], pixels.shape[2]),
            dtype=pixels.dtype,
            channels=("y", "x", "logit"),
            is_rgb=False,
            pixel_size_um=None,
            n_planes=1,
            format="array",
        )
        mix = ChannelMix(tuple(ChannelGroup((i,), "sum", name) for i, name in enumerate(facts.channels)))
        as_is = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        geometry = Geometry(facts.shape, scale)
        loaded = load_block(SegmentSettings, settings)
        source = ArraySource(pixels, facts)
        return Task(source, network, mix, as_is, geometry, loaded, window_px=loaded.pipeline.infer_size)

    @staticmethod
    def noise(shape: tuple[int, int], *, wavelength_px: int, seed: int) -> Field:
        """Return the (3, y, x) field of flows down a smooth random landscape, cells everywhere."""
        heights = gaussian_filter(np.random.default_rng(seed).normal(size=shape), wavelength_px / 4)
        flow = np.stack(np.gradient(heights))
        flow *= 5 / np.maximum(np.linalg.norm(flow, axis=0), 1e-12)
        return np.concatenate([flow, np.full((1, *shape), 6.0)]).astype(np.float32)

    def segment(self, labels: Labels, **how: Any) -> Segmented:
        """Return the cells that the engine finds with the exact network in the field of labels."""
        return self.segment_field(self.field(labels), **how)

    def segment_field(
        self,
        field: Field,
        *,
        scale: float = 1.0,
        postprocess: dict[str, Any] | None = None,
        network: ExactNetwork | None = None,
        on_progress: Callable[[Tally], None] = lambda _: None,
        part: Part = WHOLE,
        **pipeline: int,
    ) -> Segmented:
        """Return the cells that the engine finds with the exact network in a field."""
        # As it would be with the diameter measured: cells are to the network what it knows, or a little larger.
        network = network or ExactNetwork(diameter_px=8.0 * max(scale, 1.0))
        settings = {"pipeline": {"overlap_margin": 16, **pipeline}, "postprocess": postprocess or {}}
        task = self.task(field, network, scale=scale, **settings)
        tally = Tally()
        tables = list(stream_cells(task, tally, on_progress, part))
        rows = pd.concat(tables, ignore_index=True) if tables else {"geometry": []}
        return Segmented(geopandas.GeoDataFrame(rows, geometry="geometry"), tally, len(tables), network)


@pytest.fixture(scope="session")
def exact() -> Exact:
    """Return what segments label images with the exact network."""
    return Exact()
