"""The made images of the hackathon's shapes: what is in the file is what is said to be, and the truth is true."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cohortseg.arrays import Box
from cohortseg.stores.channels import channel_indices
from cohortseg.stores.images import FIRST_PAGE, open_image

HERE = Path(__file__).resolve().parent
SHAPE = (5, 300, 333)
BASE_PX, TILE_PX = 128, 64


@pytest.fixture(autouse=True)
def _as_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def image(tmp_path: Path, _as_scripts: None) -> Path:
    from cycif import write_cycif

    write_cycif(tmp_path / "made.ome.tif", SHAPE, base_px=BASE_PX, tile_px=TILE_PX)
    return tmp_path / "made.ome.tif"


def test_the_shapes_are_those_of_the_hackathon() -> None:
    from cycif import SHAPES, channel_names

    assert list(SHAPES.values())[:3] == [(12, 3138, 2509), (44, 10101, 9666), (40, 27120, 26139)]
    names = channel_names(12)
    assert names[:5] == ["DNA1", "Marker1A", "Marker1B", "Marker1C", "DNA2"]
    assert len(set(names)) == 12


def test_every_channel_repeats_its_field_without_seams(image: Path) -> None:
    from cycif import base_field
    from made import mirrored

    with open_image(image, FIRST_PAGE) as source:
        assert (source.shape, source.dtype, source.format) == (SHAPE[1:], np.uint16, "OME-TIFF")
        assert source.pixel_size_um == pytest.approx(0.65)
        whole = source.read(range(SHAPE[0]), Box(0, 0, *SHAPE[1:]))
        nuclei = channel_indices(source, ["dna1", "DNA2"])
    for channel in nuclei:
        np.testing.assert_array_equal(whole[channel], mirrored(base_field(BASE_PX)[0], 0, 0, *SHAPE[1:]))
    assert nuclei == [0, 4]
    assert len({whole[channel].tobytes() for channel in range(4)}) == 4


def test_it_is_a_compressed_pyramid_in_tiles_that_others_read_alike(image: Path) -> None:
    with tifffile.TiffFile(image) as tif:
        (series,) = tif.series
        assert [level.shape for level in series.levels] == [(5, 300, 333), (5, 150, 167), (5, 75, 84), (5, 38, 42)]
        page = series.pages[0]
        assert (page.tilewidth, page.compression.name, page.predictor.name) == (TILE_PX, "ADOBE_DEFLATE", "HORIZONTAL")
        whole, half = series.levels[0].asarray(), series.levels[1].asarray()
    with open_image(image, FIRST_PAGE) as source, open_image(image, replace(FIRST_PAGE, level=1)) as lower:
        np.testing.assert_array_equal(source.read(range(5), Box(0, 0, 300, 333)), whole)
        np.testing.assert_array_equal(lower.read(range(5), Box(0, 0, 150, 167)), half)
    means = whole[:, :300, :332].reshape(5, 150, 2, 166, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(half[:, :, :166], np.rint(means))


def test_a_tile_that_repeats_is_in_the_file_once(tmp_path: Path) -> None:
    from cycif import write_cycif

    for name, side_px in (("small", 256), ("large", 1024)):
        write_cycif(tmp_path / name, (4, side_px, side_px), base_px=BASE_PX, tile_px=TILE_PX)
    assert (tmp_path / "large").stat().st_size < 1.5 * (tmp_path / "small").stat().st_size


def test_the_truth_counts_every_nucleus_once_wherever_it_is_looked_at() -> None:
    from cycif import base_field, n_nuclei, truth

    whole = truth(Box(0, 0, *SHAPE[1:]), BASE_PX)
    assert np.unique(whole[whole > 0]).size == n_nuclei(SHAPE[1:], BASE_PX)
    box = Box(100, 90, 280, 300)
    np.testing.assert_array_equal(truth(box, BASE_PX), whole[box.slices])
    pixels, labels = base_field(BASE_PX)
    assert pixels[labels > 0].mean() > 3 * pixels[labels == 0].mean()
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    assert not border.any()


def test_decoding_is_counted_by_stage(image: Path, tmp_path: Path) -> None:
    from processes import run

    options = ["--channels", "DNA1", "--diameter", "20", "--device", "cpu", "--output-dir", str(tmp_path / "out")]
    ran = run([sys.executable, HERE / "decoded.py", "--image-path", image, *options])
    decoded = ran.said["decoded_bytes"]
    # Each of the 5 x 6 tiles of the channel once: the cache holds them for the stages that follow.
    assert sum(decoded.values()) == 30 * TILE_PX**2 * 2
    assert json.loads((tmp_path / "out" / "metadata.json").read_text())["counts"]["cells"] > 20
