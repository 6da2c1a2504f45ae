"""One small image, segmented once for all tests of the steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.networks import Network, use_threads
from cohortseg.settings import Settings, load_settings
from cohortseg.steps.segment import segment_file
from cohortseg.synthetic import crowded_field

SHAPE = (150, 190)


@dataclass(frozen=True)
class Sample:
    """The files of one segmented sample, and what is in its image."""

    folder: Path
    pixels: NDArray[np.uint16]
    truth: Labels

    @property
    def image(self) -> Path:
        return self.folder / "image.ome.tif"

    @property
    def labels(self) -> Path:
        return self.folder / "truth.tif"

    @property
    def polygons(self) -> Path:
        return self.folder / "polygons.parquet"

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata.json"


@pytest.fixture(scope="session")
def cpu_settings() -> Settings:
    """Return settings for a small image with cells of a known diameter."""
    return load_settings(
        {
            "device": "cpu",
            "diameter": 20.0,
            "channels": ["DAPI"],
            "pipeline": {"infer_size": 128, "overlap_margin": 16},
            "rasterise": {"chunk_px": 64, "shard_px": 128},
        }
    )


@pytest.fixture(scope="session")
def network(cpu_settings: Settings) -> Network:
    """Return the built-in network, on one thread."""
    use_threads(1)
    return Network.of(cpu_settings)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, network: Network, cpu_settings: Settings) -> Sample:
    """Return a segmented sample, not to be written to."""
    pixels, truth = crowded_field(SHAPE, n_cells=32, diameter_px=20.0, seed=5)
    made = Sample(tmp_path_factory.mktemp("sample"), pixels, truth)
    tifffile.imwrite(
        made.image,
        np.stack([pixels, pixels // 3 + 50]),
        ome=True,
        metadata={
            "axes": "CYX",
            "Channel": {"Name": ["DAPI", "CD45"]},
            "PhysicalSizeX": 0.5,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm",
        },
    )
    tifffile.imwrite(made.labels, truth)
    segment_file(
        made.image,
        made.polygons,
        made.metadata,
        lambda _: network,
        cpu_settings.segment_settings(),
        sample="field",
        z_index=3,
        on_progress=lambda _: None,
    )
    return made


@pytest.fixture(scope="session")
def tall(tmp_path_factory: pytest.TempPathFactory, network: Network, cpu_settings: Settings) -> Sample:
    """Return a segmented sample of several rows of windows, not to be written to."""
    pixels, truth = crowded_field((420, 200), n_cells=90, diameter_px=20.0, seed=6)
    made = Sample(tmp_path_factory.mktemp("tall"), pixels, truth)
    tifffile.imwrite(made.image, pixels[None], ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["DAPI"]}})
    segment_file(
        made.image,
        made.polygons,
        made.metadata,
        lambda _: network,
        cpu_settings.segment_settings(),
        sample="tall",
        z_index=3,
        on_progress=lambda _: None,
    )
    return made


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Any]:
    """Return what makes the object that Snakemake gives to a script, with its results in results/field."""

    def make(rule: str, *, input: dict[str, Path], output: dict[str, str], **params: Any) -> Any:
        folder = tmp_path / "results" / "field"
        outputs = {name: str(folder / file) for name, file in output.items()}

        class Files(list[str]):
            """A list whose entries have names too."""

        none: dict[str, Any] = {"intensities": [], "nuclei": [], "nuclei_metadata": []}
        files = Files(outputs.values())
        vars(files).update(outputs)
        return SimpleNamespace(
            rule=rule,
            input=SimpleNamespace(**none | {name: str(path) for name, path in input.items()}),
            output=files,
            params=SimpleNamespace(**{"url": None, **params}),
            threads=1,
            log=[str(tmp_path / "logs" / f"{rule}.log")],
        )

    return make
