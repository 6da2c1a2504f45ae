"""The plan holds all that the Snakefile needs, or says everything that is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cohortseg.errors import MissingFileError, SampleSheetError, SettingsError
from cohortseg.steps.plan import count_planes_if_there, make_plan

ROOT = Path(__file__).resolve().parents[2]
HEADER = "sample\timage\tstack\tz_index\tdiameter\tlabels\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with a sheet of three samples, two of them planes in falling z order."""
    (tmp_path / "sheets").mkdir()
    for name in ("a.tif", "b.tif", "c.tif"):
        (tmp_path / name).touch()
    rows = "up\t../a.tif\ts\t2\t\t\ndown\t../b.tif\ts\t-1\t30\t\nlone\t../c.tif\t\t\t\t../a.tif\n"
    (tmp_path / "sheets" / "samples.tsv").write_text(HEADER + rows, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


CONFIG: dict[str, object] = {"samples": "sheets/samples.tsv", "device": "cpu"}


@pytest.mark.usefixtures("folder")
def test_a_plan_holds_samples_with_effective_settings_and_stacks_in_z_order() -> None:
    plan = make_plan(CONFIG)
    assert plan == json.loads(json.dumps(plan))
    assert list(plan["samples"]) == ["up", "down", "lone"]
    assert plan["stacks"] == {"s": [{"sample": "down", "z_index": -1}, {"sample": "up", "z_index": 2}]}
    assert plan["samples"]["down"]["segment"]["diameter"] == 30.0
    assert plan["samples"]["lone"]["labels"] == "a.tif"
    assert plan["samples"]["up"]["labels"] is None
    assert plan["results"] == "results"


@pytest.mark.usefixtures("folder")
def test_a_plan_names_the_planes_that_are_compared() -> None:
    assert make_plan(CONFIG)["pairs"] == {"s": [{"lower": "down", "upper": "up", "lower_z": -1, "upper_z": 2}]}
    apart = CONFIG | {"stitch": {"z_step_um": 1.0, "max_distance_um": 2.0}}
    assert make_plan(apart)["pairs"] == {"s": []}


def test_a_file_of_all_planes_is_a_stack_as_long_as_it_can_be_opened(folder: Path) -> None:
    planes = np.zeros((3, 8, 9), np.uint8)
    tifffile.imwrite(folder / "deep.tif", planes, photometric="minisblack", metadata={"axes": "ZYX"})
    (folder / "sheets" / "samples.tsv").write_text("sample\timage\tplane\ndeep\t../deep.tif\tall\nb\t../b.tif\t\n")
    plan = make_plan(CONFIG)
    assert list(plan["samples"]) == ["deep_z000", "deep_z001", "deep_z002", "b"]
    assert plan["samples"]["deep_z002"]["segment"]["plane"] == 2
    assert plan["samples"]["deep_z002"]["image"] == "deep.tif"
    assert [plane["sample"] for plane in plan["stacks"]["deep"]] == ["deep_z000", "deep_z001", "deep_z002"]
    assert [(pair["lower_z"], pair["upper_z"]) for pair in plan["pairs"]["deep"]] == [(0, 1), (1, 2)]
    (folder / "deep.tif").write_bytes(b"II*")
    with pytest.raises(
        SampleSheetError, match=r"sample 'deep': plane is all but the planes of image .* cannot be counted"
    ):
        make_plan(CONFIG)
    trusting = make_plan(CONFIG, lambda _: True, count_planes_if_there)
    assert list(trusting["samples"]) == ["b"], "the jobs of other samples go on"


@pytest.mark.usefixtures("folder")
def test_what_decides_a_result_leaves_out_the_device() -> None:
    cpu, gpu = (make_plan({**CONFIG, "device": device})["samples"]["lone"] for device in ("cpu", "cuda"))
    assert cpu["segment"] != gpu["segment"]
    assert cpu["decisive"] == gpu["decisive"]


def test_images_below_the_working_directory_stay_relative_and_others_absolute(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_plan(CONFIG)["samples"]["up"]["image"] == "a.tif"
    monkeypatch.chdir(folder / "sheets")
    assert make_plan({"samples": "samples.tsv"})["samples"]["up"]["image"] == str(folder / "a.tif")


def test_a_plan_reports_missing_images_unless_told_to_trust_them(folder: Path) -> None:
    (folder / "c.tif").unlink()
    with pytest.raises(SampleSheetError, match=r"sample 'lone': image .*c\.tif does not exist"):
        make_plan(CONFIG)
    assert "lone" in make_plan(CONFIG, exists=lambda _: True)["samples"]


@pytest.mark.usefixtures("folder")
def test_a_missing_sheet_and_a_wrong_config_say_so() -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.tsv"):
        make_plan({"samples": "nowhere.tsv"})
    with pytest.raises(SettingsError, match=r"'postprocess\.min_size'"):
        make_plan({"min_size": 3})


@pytest.mark.parametrize(("config", "code"), [(CONFIG, 0), ({"devise": "cpu"}, 2)])
def test_as_a_program_it_prints_the_plan_or_one_clear_message(
    folder: Path, config: dict[str, object], code: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cohortseg.steps.plan"],
        input=json.dumps(config),
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    if code:
        assert "devise: unknown key; did you mean 'device'?" in done.stderr
        assert "Traceback" not in done.stderr
    else:
        assert json.loads(done.stdout)["samples"]["lone"]["image"] == "c.tif"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_path": "~/nowhere"}, r"model_path /.*nowhere is not a file"),
        ({"model_path": "a.tif", "size_model_path": "nowhere"}, "size_model_path nowhere is not a file"),
        ({"model": "cyto3"}, "weights of model 'cyto3' are not here.*cohortseg models fetch cyto3"),
        ({"model": "cytoo"}, "model 'cytoo' is not known"),
    ],
)
def test_weights_that_are_not_there_are_told_before_any_job(config: dict[str, object], message: str) -> None:
    with pytest.raises((MissingFileError, SettingsError), match=message):
        make_plan(CONFIG | config)
    assert make_plan(CONFIG | {"model": "mine", "model_path": "a.tif"})["samples"]["up"]["segment"]["model"] == "mine"


def test_the_files_of_a_network_that_is_named_are_inputs_of_the_jobs_and_decide_nothing_by_their_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []
    for place in ("one", "other"):
        (folder / place).mkdir()
        (folder / place / "cyto3").touch()
        (folder / place / "size_cyto3.npy").touch()
        monkeypatch.setenv("COHORTSEG_MODELS_PATH", str(folder / place))
        plans.append(make_plan(CONFIG | {"model": "cyto3", "modality": "fluorescence"})["samples"])
    one, other = plans
    assert one["lone"]["model_path"] == [str(folder / "one" / "cyto3")]
    assert one["lone"]["size_model_path"] == [str(folder / "one" / "size_cyto3.npy")]
    assert one["down"]["size_model_path"] == []  # its diameter is given
    assert other["lone"]["model_path"] == [str(folder / "other" / "cyto3")]
    assert one["lone"]["decisive"] == other["lone"]["decisive"]
    assert make_plan(CONFIG)["samples"]["lone"]["model_path"] == []


def test_an_image_behind_a_url_is_no_input_file_and_decides_the_result(folder: Path) -> None:
    url = "https://host.org/c.zarr?token=1"
    sheet = folder / "sheets" / "samples.tsv"
    local = make_plan(CONFIG)["samples"]["lone"]
    sheet.write_text(sheet.read_text(encoding="utf-8").replace("../c.tif", url), encoding="utf-8")
    remote = make_plan(CONFIG)["samples"]["lone"]
    assert (remote["image"], remote["url"]) == (None, url)
    assert (local["image"], local["url"]) == ("c.tif", None)
    assert remote["decisive"] == local["decisive"] | {"url": url}


def sheet_of(folder: Path, header: str, *rows: str) -> None:
    (folder / "sheets" / "samples.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_small_images_share_batches_and_stacks_stay_whole(folder: Path) -> None:
    sheet_of(
        folder,
        "sample\timage\tstack\tz_index\tscatter\tbatch",
        "a\t../a.tif\t\t\t\t", "up\t../b.tif\ts\t2\t\t", "alone\t../a.tif\t\t\t\t1", "cut\t../a.tif\t\t\t3\t",
        "down\t../c.tif\ts\t1\t\t", "half\t../a.tif\tt\t0\t\t1", "other\t../b.tif\tt\t1\t\t", "b\t../b.tif\t\t\t\t",
    )  # fmt: skip
    batches = make_plan(CONFIG | {"batch": 3})["batches"]
    assert [(batch["samples"], batch["stacks"]) for batch in batches.values()] == [
        (["a", "up", "down"], ["s"]),
        (["b"], []),
    ]
    assert make_plan(CONFIG)["batches"] == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [["a"], ["b"], ["dapi", "c", "d"]]),
        ({"dapi": "1"}, [["a", "b"]]),
        ({"d": "1"}, [["a", "b"]]),
    ],
)
def test_cells_and_their_nuclei_share_a_batch_or_none(
    folder: Path, changes: dict[str, str], expected: list[list[str]]
) -> None:
    nuclei = {"c": "dapi", "d": "dapi"}
    names = ("a", "dapi", "b", "c", "d")
    rows = (f"{name}\t../a.tif\t{nuclei.get(name, '')}\t{changes.get(name, '')}" for name in names)
    sheet_of(folder, "sample\timage\tnuclei\tbatch", *rows)
    plan = make_plan(CONFIG | {"batch": 3})
    assert sorted(batch["samples"] for batch in plan["batches"].values()) == expected
    assert [plan["samples"][name]["nuclei"] for name in ("a", "c")] == [None, "dapi"]


def test_stacks_of_cells_and_of_their_nuclei_share_a_batch(folder: Path) -> None:
    rows = (f"{kind}{z}\t../a.tif\t{kind}\t{z}\t{f'n{z}' if kind == 'c' else ''}" for z in (1, 2) for kind in "cnx")
    sheet_of(folder, "sample\timage\tstack\tz_index\tnuclei", *rows)
    batches = make_plan(CONFIG | {"batch": 4})["batches"].values()
    assert [(batch["samples"], batch["stacks"]) for batch in batches] == [
        (["c1", "n1", "c2", "n2"], ["c", "n"]),
        (["x1", "x2"], ["x"]),
    ]


@pytest.mark.usefixtures("folder")
def test_a_batch_cannot_wait_for_the_cohort() -> None:
    with pytest.raises(SettingsError, match=r"^batch is above 1 and normalise\.policy is cohort"):
        make_plan(CONFIG | {"batch": 2, "normalise": {"policy": "cohort"}})


def scatter_of(folder: Path, *, trusting: bool = False) -> dict[str, int]:
    plan = make_plan(CONFIG | {"scatter": "auto", "part_mpx": 1}, lambda _: True, trusting=trusting)
    return {name: sample["scatter"] for name, sample in plan["samples"].items()}


def test_an_images_size_decides_how_many_parts_it_has(folder: Path) -> None:
    tifffile.imwrite(folder / "wide.tif", np.zeros((1000, 2500), np.uint8))
    sheet_of(folder, "sample\timage\tscatter", "wide\t../wide.tif\t", "given\t../wide.tif\t7", "bad\t../a.tif\t")
    assert scatter_of(folder) == {"wide": 3, "given": 7, "bad": 1}


def test_a_job_takes_the_sizes_that_the_main_process_found(folder: Path) -> None:
    image = folder / "wide.tif"
    tifffile.imwrite(image, np.zeros((1000, 2500), np.uint8))
    sheet_of(folder, "sample\timage", "wide\t../wide.tif")
    assert scatter_of(folder) == {"wide": 3}
    image.unlink()
    assert scatter_of(folder, trusting=True) == {"wide": 3}, "gone meanwhile: the jobs of its parts say so"
    tifffile.imwrite(image, np.zeros((1000, 4500), np.uint8))
    assert scatter_of(folder, trusting=True) == {"wide": 3}
    assert scatter_of(folder) == {"wide": 5}
    for damaged in ("{", "[]", json.dumps({"x": 3})):
        (folder / ".snakemake" / "cohortseg" / "pixels.json").write_text(damaged, encoding="utf-8")
        assert scatter_of(folder) == {"wide": 5}


def test_an_image_that_could_not_be_opened_is_looked_at_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(folder / "wide.tif", np.zeros((1000, 2500), np.uint8))
    sheet_of(folder, "sample\timage", "wide\t../wide.tif")

    def refuse(*_: object) -> None:
        raise OSError("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr("cohortseg.stores.images.open_image", refuse)
        assert scatter_of(folder) == {"wide": 1}
    assert scatter_of(folder) == {"wide": 3}
