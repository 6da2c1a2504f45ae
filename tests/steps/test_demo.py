from pathlib import Path

import numpy as np
import pytest

from cohortseg.settings.load import load_settings
from cohortseg.settings.sheet import Sample, parse_sheet
from cohortseg.steps.demo import make_demo
from cohortseg.stores.images import FIRST_PAGE, open_image
from cohortseg.stores.sheet import read_sheet
from cohortseg.stores.tables import read_label_image, read_yaml


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder)
    return folder


@pytest.fixture(scope="module")
def samples(demo: Path) -> dict[str, Sample]:
    settings = load_settings(read_yaml(demo / "config.yaml"))
    rows = read_sheet(demo / settings.samples)
    parsed = parse_sheet(rows, str(demo), settings, lambda path: Path(path).is_file(), lambda *_: 1)
    return {sample.sample: sample for sample in parsed}


def test_the_cohort_stays_under_5_mb(demo: Path) -> None:
    assert sum(path.stat().st_size for path in demo.rglob("*") if path.is_file()) < 5e6


def test_the_files_returned_are_those_written_with_the_config_first(tmp_path: Path) -> None:
    files = make_demo(tmp_path / "new" / "folder")
    assert files[0] == tmp_path / "new" / "folder" / "config.yaml"
    assert sorted(files) == sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_making_it_again_gives_the_same_bytes_and_touches_nothing(demo: Path, tmp_path: Path) -> None:
    files = make_demo(tmp_path)
    for path in files:
        assert path.read_bytes() == (demo / path.relative_to(tmp_path)).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in files}
    make_demo(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in files}


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    files = make_demo(tmp_path)
    whole = files[2].read_bytes()
    files[2].write_bytes(whole[:100])
    make_demo(tmp_path)
    assert files[2].read_bytes() == whole


def test_the_sheet_lists_a_stack_of_five_planes_and_three_images(samples: dict[str, Sample]) -> None:
    planes = [sample.z_index for sample in samples.values() if sample.stack == "demo"]
    assert planes == [0, 1, 2, 3, 4]
    assert {sample for sample in samples if samples[sample].stack is None} == {"two_channel", "histology", "empty"}


def test_every_image_opens_with_the_shape_of_its_truth(samples: dict[str, Sample]) -> None:
    for sample in samples.values():
        with open_image(Path(sample.image), FIRST_PAGE) as image:
            assert image.shape == read_label_image(Path(sample.labels)).shape


def test_the_two_channel_field_names_its_channels_and_pixel_size(samples: dict[str, Sample]) -> None:
    assert samples["two_channel"].segment.channels == ("nucleus",)
    with open_image(Path(samples["two_channel"].image), FIRST_PAGE) as image:
        assert image.channels == ("membrane", "nucleus")
        assert image.pixel_size_um == pytest.approx(0.5)


def test_histology_is_rgb_and_the_empty_image_has_an_empty_truth(samples: dict[str, Sample]) -> None:
    with open_image(Path(samples["histology"].image), FIRST_PAGE) as image:
        assert image.is_rgb
    assert not read_label_image(Path(samples["empty"].labels)).any()


def test_a_nucleus_of_the_stack_has_one_label_in_all_planes(samples: dict[str, Sample]) -> None:
    planes = [read_label_image(Path(samples[f"demo_z{z}"].labels)) for z in range(5)]
    both = (planes[1] > 0) & (planes[2] > 0)
    assert np.mean(planes[1][both] == planes[2][both]) > 0.9
