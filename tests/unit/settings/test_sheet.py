"""The sample sheet becomes samples, or one error that lists all its faults."""

from dataclasses import dataclass

import pytest

from cohortseg.errors import ImageError, SampleSheetError
from cohortseg.settings import Sample, SegmentSettings, load_settings, parse_sheet
from cohortseg.settings.sheet import SheetColumns


@dataclass(frozen=True)
class TextRow:
    line: int
    values: dict[str, str]


PLANES = {"/cohort/stack.tif": 12, "/cohort/stack2.tif": 12, "/cohort/flat.tif": 1, "/cohort/unknown.tif": 0}


def count_planes(path: str, segment: SegmentSettings) -> int:
    """Return how many planes a file of these tests has."""
    if path not in PLANES:
        raise ImageError(f"{path} is damaged", "an image", "Copy it again.")
    return PLANES[path]


def parse(*rows: dict[str, str], config: dict[str, object] | None = None) -> tuple[Sample, ...]:
    numbered = [TextRow(line, values) for line, values in enumerate(rows, start=2)]
    return parse_sheet(numbered, "/cohort", load_settings(config or {}), lambda path: "gone" not in path, count_planes)


def faults(*rows: dict[str, str]) -> str:
    with pytest.raises(SampleSheetError) as caught:
        parse(*rows)
    return str(caught.value)


def test_paths_start_at_the_sheet_unless_absolute() -> None:
    a, b = parse({"sample": "a", "image": "x/../a.tif", "labels": "t.tif"}, {"sample": "b", "image": "/data/b.tif"})
    assert (a.image, a.labels, b.image, b.labels) == ("/cohort/a.tif", "/cohort/t.tif", "/data/b.tif", None)


@pytest.mark.parametrize("url", ["https://host.org/gone/a.zarr", "s3://bucket/gone.ome.tif", "HTTP://host/gone"])
def test_the_url_of_an_image_stays_as_it_is_and_is_not_looked_for(url: str) -> None:
    assert parse({"sample": "a", "image": url})[0].image == url


def test_labels_behind_a_url_and_unknown_schemes_are_faults() -> None:
    assert "labels is a URL" in faults({"sample": "a", "image": "a.tif", "labels": "https://host.org/a.tif"})
    assert "image /cohort/ftp:/host/gone.tif does not exist" in faults({"sample": "a", "image": "ftp://host/gone.tif"})


def test_channels_of_a_row_may_be_sums_and_maxima() -> None:
    row = {"sample": "a", "image": "a.tif", "channels": "CD45+CD8, DAPI|1"}
    assert parse(row)[0].segment.channels == ("CD45+CD8", "DAPI|1")


def test_a_row_overrides_the_config_and_empty_cells_do_not() -> None:
    row = {
        "sample": "a",
        "image": "a.tif",
        "channels": "DAPI, 2",
        "diameter": "12.5",
        "pixel_size_um": "",
        "modality": "histology",
        "image_type": "zarr",
        "series": "1",
        "level": "2",
        "plane": "3",
    }
    config = {"diameter": 30.0, "pixel_size_um": 0.5, "device": "cpu"}
    segment = parse(row, config=config)[0].segment
    assert (segment.channels, segment.diameter, segment.pixel_size_um) == (("DAPI", 2), 12.5, 0.5)
    assert (segment.modality, segment.image_type, segment.device) == ("histology", "zarr", "cpu")
    assert (segment.series, segment.level, segment.plane) == (1, 2, 3)


def test_a_row_with_its_own_model_does_not_take_the_configs_checkpoint() -> None:
    config = {"model": "cyto3", "model_path": "weights/cyto3"}
    other, same = parse(
        {"sample": "a", "image": "a", "model": "nuclei-mini"}, {"sample": "b", "image": "b"}, config=config
    )
    assert (other.segment.model, other.segment.model_path) == ("nuclei-mini", None)
    assert (same.segment.model, same.segment.model_path) == ("cyto3", "weights/cyto3")


def test_planes_keep_their_stack_and_any_integer_z() -> None:
    rows = [{"sample": f"p{z}", "image": "i", "stack": "s", "z_index": str(z)} for z in (4, -1, 0)]
    assert [(plane.stack, plane.z_index) for plane in parse(*rows)] == [("s", 4), ("s", -1), ("s", 0)]


def test_the_same_z_in_two_stacks_is_no_fault() -> None:
    rows = [{"sample": name, "image": "i", "stack": name, "z_index": "0"} for name in ("a", "b")]
    assert len(parse(*rows)) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "a"}, "row 2, sample '': column sample: it is missing or empty"),
        ({"sample": "a"}, "column image: it is missing or empty"),
        ({"sample": "a", "image": "gone.tif"}, "row 2, sample 'a': image /cohort/gone.tif does not exist"),
        ({"sample": "a", "image": "a", "labels": "gone"}, "labels /cohort/gone does not exist"),
        ({"sample": "..", "image": "a"}, "column sample: found '..', allowed: text that matches"),
        ({"sample": ".a", "image": "a"}, "column sample: found '.a'"),
        ({"sample": "a/b", "image": "a"}, "column sample: found 'a/b'"),
        ({"sample": "a\n", "image": "a"}, "column sample: found 'a\\n'"),
        ({"sample": "Cohort", "image": "a"}, "the name is reserved"),
        ({"sample": "stacks", "image": "a"}, "the name is reserved"),
        ({"sample": "a", "image": "a", "stack": "s"}, "it is in stack 's' but has no z_index"),
        ({"sample": "a", "image": "a", "z_index": "1"}, "it has z_index 1 but no stack"),
        (
            {"sample": "a", "image": "a", "stack": "s", "z_index": "1.5"},
            "column z_index: found 1.5, allowed: a valid",
        ),
        ({"sample": "a", "image": "a", "diameter": "big"}, "column diameter: found 'big', allowed: a valid number"),
        ({"sample": "a", "image": "a", "diameter": "-3"}, "diameter: found -3.0, allowed: greater than 0"),
        ({"sample": "a", "image": "a", "series": "-1"}, "column series: found -1, allowed: greater than or equal to 0"),
        ({"sample": "a", "image": "a", "image_type": "png"}, "column image_type: found 'png', allowed: 'tiff', 'zarr'"),
        ({"sample": "a", "image": "a", "channels": "1,,2"}, "column channels: found ['1', '', '2']"),
        (
            {"sample": "a", "image": "a", "zindex": "1"},
            "column 'zindex' is unknown; did you mean 'z_index'? allowed: sa",
        ),
    ],
)
def test_a_fault_names_its_row_sample_and_column(row: dict[str, str], message: str) -> None:
    assert message in faults(row)


def test_a_sheet_without_rows_is_a_fault() -> None:
    assert "it has no rows" in faults()


def test_a_repeated_sample_names_the_earlier_row_even_in_another_case() -> None:
    text = faults({"sample": "a", "image": "i"}, {"sample": "A", "image": "i"}, {"sample": "a", "image": "i"})
    assert "row 3, sample 'A': the name is already used by row 2, there 'a'" in text
    assert "row 4, sample 'a': the name is already used by row 2." in text


def test_a_repeated_plane_names_the_earlier_row() -> None:
    text = faults(
        {"sample": "a", "image": "i", "stack": "s", "z_index": "3"},
        {"sample": "b", "image": "i", "stack": "s", "z_index": "03"},
    )
    assert "row 3, sample 'b': z_index 3 of stack 's' is already used by row 2" in text


def test_stacks_that_differ_in_case_only_are_refused() -> None:
    text = faults(
        {"sample": "a", "image": "i", "stack": "S", "z_index": "1"},
        {"sample": "b", "image": "i", "stack": "s", "z_index": "2"},
    )
    assert "stack 's' differs from 'S' of row 2 in case only" in text


def test_all_faults_of_all_rows_are_in_one_error_in_the_order_of_the_sheet() -> None:
    text = faults(
        {"sample": "a", "image": "gone1", "extra": ""},
        {"sample": "b", "image": "i", "diameter": "x", "plane": "y"},
        {"sample": "b", "image": "gone2"},
    )
    assert "has 6 faults" in text
    positions = [text.index(part) for part in ("'extra'", "gone1", "diameter:", "plane:", "gone2", "already used")]
    assert positions == sorted(positions)


def test_every_override_column_is_a_key_of_the_config() -> None:
    own = {"sample", "image", "stack", "z_index", "labels", "nuclei"}
    assert set(SheetColumns.model_fields) - own <= set(load_settings({}).model_dump())


def test_a_file_of_all_planes_becomes_a_stack_of_samples() -> None:
    row = {"sample": "liver", "image": "stack.tif", "labels": "stack2.tif", "plane": "all", "diameter": "9"}
    planes = parse({"sample": "first", "image": "a.tif"}, row, {"sample": "last", "image": "b.tif"})[1:-1]
    assert [plane.sample for plane in planes] == [f"liver_z{z:03d}" for z in range(12)]
    assert [plane.z_index for plane in planes] == [plane.segment.plane for plane in planes] == list(range(12))
    assert {(plane.stack, plane.image, plane.labels) for plane in planes} == {
        ("liver", "/cohort/stack.tif", "/cohort/stack2.tif")
    }
    assert {plane.segment.diameter for plane in planes} == {9.0}


def test_a_stack_of_all_planes_is_called_as_the_sheet_says() -> None:
    assert {plane.stack for plane in parse({"sample": "a", "image": "stack.tif", "stack": "s", "plane": "all"})} == {
        "s"
    }


def test_a_file_whose_planes_cannot_be_counted_now_has_none() -> None:
    assert [sample.sample for sample in parse({"sample": "a", "image": "unknown.tif", "plane": "all"}, OTHER)] == ["z"]


OTHER = {"sample": "z", "image": "z.tif"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"image": "flat.tif"}], "plane is all but /cohort/flat.tif has one plane; leave plane empty"),
        (
            [{"image": "damaged.tif"}],
            "the planes of image /cohort/damaged.tif cannot be counted: /cohort/damaged.tif is",
        ),
        ([{"image": "stack.tif", "labels": "flat.tif"}], "12 planes and labels /cohort/flat.tif has 1"),
        ([{"image": "stack.tif", "z_index": "3"}], "z_index is given but plane is all"),
        ([{"image": "stack.tif", "stack": "s"}, {"image": "stack2.tif", "stack": "s"}], "z_index 0 of stack 's' is"),
        ([{"image": "stack.tif", "plane": "some"}], "found 'some', allowed: a plane's number, from 0, or all"),
        ([{"image": "stack.tif", "plane": "-1"}], "allowed: a plane's number, from 0, or all"),
    ],
)
def test_rows_of_all_planes_that_make_no_stack_are_told_once(rows: list[dict[str, str]], message: str) -> None:
    text = faults(*({"sample": f"s{i}", "plane": "all"} | row for i, row in enumerate(rows)))
    assert message in text
    assert "has 1 fault" in text


def test_a_plane_called_like_another_sample_is_told() -> None:
    text = faults({"sample": "s_z004", "image": "a.tif"}, {"sample": "s", "image": "stack.tif", "plane": "all"})
    assert "row 3, sample 's': the name 's_z004' is used by row 2 too" in text


def plane(sample: str, stack: str, z_index: int, nuclei: str = "") -> dict[str, str]:
    return {"sample": sample, "image": "a.tif", "stack": stack, "z_index": str(z_index), "nuclei": nuclei}


def test_cells_know_the_sample_of_their_nuclei() -> None:
    rows = (
        {"sample": "cells", "image": "a.tif", "nuclei": "dapi"},
        {"sample": "dapi", "image": "a.tif"},
        plane("c1", "cells3d", 1, "n1"),
        plane("c2", "cells3d", 2, "n2"),
        plane("n1", "nuclei3d", 1),
        plane("n2", "nuclei3d", 2),
        plane("c3", "lone3d", 3, "dapi"),
    )
    assert [sample.nuclei for sample in parse(*rows)] == ["dapi", None, "n1", "n2", None, None, "dapi"]


def test_planes_of_a_file_take_their_nuclei_plane_by_plane() -> None:
    cells = {"sample": "c", "image": "stack.tif", "plane": "all", "nuclei": "n"}
    parsed = parse(cells, {"sample": "n", "image": "stack2.tif", "plane": "all"})
    assert [sample.nuclei for sample in parsed[:12]] == [f"n_z{z:03d}" for z in range(12)]
    (lone, *_) = parse({"sample": "a", "image": "a", "nuclei": "n_z003"}, {"sample": "n"} | PLANES_OF_A_FILE)
    assert lone.nuclei == "n_z003"


PLANES_OF_A_FILE = {"image": "stack.tif", "plane": "all"}
CELLS = {"sample": "cells", "image": "a.tif"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([CELLS | {"nuclei": "dapy"}, {"sample": "dapi", "image": "a"}], "row 2, sample 'cells': nuclei 'dapy' is no "
         "sample of this sheet; did you mean 'dapi'?"),
        ([CELLS | {"nuclei": "cells"}], "nuclei names the row itself"),
        ([CELLS | {"nuclei": "../a"}], "column nuclei: found '../a'"),
        ([CELLS | {"nuclei": "b"}, {"sample": "b", "image": "b", "nuclei": "c"}, {"sample": "c", "image": "c"}],
         "row 2, sample 'cells': nuclei 'b' has nuclei itself, 'c'"),
        ([plane("c", "s", 1, "n"), plane("n", "t", 2)], "it has z_index 1, its nuclei 'n' have z_index 2"),
        ([plane("c", "s", 1, "n"), plane("d", "s", 2, "m"), plane("n", "t", 1), plane("m", "u", 2)],
         "row 3, sample 'd': nuclei 'm' is of stack 'u', those of other planes are of stack 't'"),
        ([CELLS | {"nuclei": "n"}, {"sample": "n"} | PLANES_OF_A_FILE], "name one of its planes, such as n_z000"),
        ([{"sample": "c", "nuclei": "dapi"} | PLANES_OF_A_FILE, {"sample": "dapi", "image": "a"}],
         "row 2, sample 'c': nuclei 'dapi_z000' is no sample of this sheet; where plane is all, the row of the nuclei"),
    ],
)  # fmt: skip
def test_nuclei_that_cannot_be_those_of_the_cells_are_told_once(rows: list[dict[str, str]], message: str) -> None:
    text = faults(*rows)
    assert message in text
    assert "has 1 fault" in text


def test_nuclei_in_a_row_with_faults_of_its_own_are_no_further_fault() -> None:
    text = faults(CELLS | {"nuclei": "n"}, {"sample": "n", "image": "gone.tif", "diameter": "big"})
    assert "has 1 fault" in text
    uncounted = {"sample": "n", "image": "unknown.tif", "plane": "all"}
    assert [sample.nuclei for sample in parse(CELLS | {"nuclei": "n_z002"}, uncounted)] == ["n_z002"]
