"""Step archive: all results and how they came about, as an RO-Crate that others can read."""

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rocrate.rocrate import ROCrate

from cohortseg.errors import ArchiveError, MissingFileError, TableError
from cohortseg.settings import load_settings
from cohortseg.steps import archive
from cohortseg.steps.archive import archive_results
from cohortseg.stores.flags import Flags

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cohort(sample: Any, tmp_path: Path) -> Path:
    """Return the folder of a cohort of one sample, as the workflow leaves it."""
    results = tmp_path / "results"
    store = results / "field" / "mask.zarr" / "c"
    store.mkdir(parents=True)
    shutil.copy(sample.polygons, results / "field")
    metadata = json.loads(sample.metadata.read_text())
    metadata["code"] = {"version": "0.1.0", "commit": COMMIT, "modified": False}
    (results / "field" / "metadata.json").write_text(json.dumps(metadata))
    (store / "0").write_bytes(bytes(3_000_000))
    (results / "field" / "mask.zarr" / ".snakemake_timestamp").touch()
    (tmp_path / "logs" / "segment").mkdir(parents=True)
    (tmp_path / "logs" / "segment" / "field.log").write_text("done\n")
    (tmp_path / "logs" / "archive").mkdir()
    (tmp_path / "logs" / "archive" / "cohort.log").write_text("at work\n")
    (tmp_path / "samples.tsv").write_text("sample\timage\nfield\timage.ome.tif\n")
    for path in results.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return tmp_path


def plan_of(cohort: Path, **keys: Any) -> dict[str, Any]:
    settings = load_settings({"samples": str(cohort / "samples.tsv"), "results": str(cohort / "results"), **keys})
    return {
        "results": settings.results,
        "settings": settings.model_dump(mode="json"),
        "samples": {"field": {}},
        "stacks": {},
        "batches": {},
    }


def pack(cohort: Path, target: Path, *paths: str, **keys: Any) -> Path:
    found = paths or ("field/polygons.parquet", "field/metadata.json", "field/mask.zarr")
    results = [cohort / "results" / path for path in found]
    log = cohort / "logs" / "archive" / "cohort.log"
    archive_results(plan_of(cohort, **keys), results, target, logs=cohort / "logs", own_log=log)
    return target


def test_another_program_reads_what_was_done_and_with_what(cohort: Path, sample: Any, tmp_path: Path) -> None:
    made = pack(
        cohort, tmp_path / "a.zip", report={"title": "Our cohort"}, archive={"license": "CC-BY-4.0", "creator": "A lab"}
    )
    crate = ROCrate(made)
    root = crate.root_dataset
    assert (root["name"], root["creditText"], root["license"].id) == (
        "Our cohort", "A lab", "https://spdx.org/licenses/CC-BY-4.0"
    )  # fmt: skip
    assert root["datePublished"] == "2023-11-14T22:13:20+00:00"
    facts = json.loads(sample.metadata.read_text())
    (action,) = [entity for entity in crate.get_entities() if entity.type == "CreateAction"]
    image, network = action["object"]
    assert (image["name"], image["sha256"]) == (str(sample.image), facts["image_checksum"]["sha256"])
    assert network["sha256"] == facts["model"]["sha256"]
    assert action["instrument"]["identifier"] == COMMIT
    assert f"numpy {facts['versions']['numpy']}" in action["instrument"]["softwareRequirements"]
    result = action["result"]
    assert result.id == "results/field/"
    parts = {part.id: part for part in result["hasPart"]}
    assert set(parts) == {f"results/field/{name}" for name in ("polygons.parquet", "metadata.json", "mask.zarr/")}
    assert parts["results/field/mask.zarr/"].type == "Dataset"


def test_every_file_is_in_a_data_set_that_the_root_leads_to(cohort: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(cohort, tmp_path / "a.zip")) as stored:
        graph = {entity["@id"]: entity for entity in json.loads(stored.read("ro-crate-metadata.json"))["@graph"]}
        names = set(stored.namelist()) - {"ro-crate-metadata.json"}
    found, waiting = set(), ["./"]
    while waiting:
        name = waiting.pop()
        assert name not in found
        found.add(name)
        waiting += [part["@id"] for part in graph[name].get("hasPart", [])]
    assert found == {name for name, entity in graph.items() if entity["@type"] in ("File", "Dataset")}
    assert found >= {name for name in names if ".zarr" not in name}
    linked = [each["@id"] for entity in graph.values() for value in entity.values() for each in _ids(value)]
    assert {name for name in linked if not name.startswith("https://w3id.org")} <= set(graph)


def _ids(value: Any) -> list[dict[str, str]]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def test_what_people_flagged_is_among_the_results(cohort: Path, tmp_path: Path) -> None:
    flags = cohort / "results" / "cohort" / "flags.tsv"
    flags.parent.mkdir()
    Flags(flags).put("field", 1, "wrong", x_px=1, y_px=1)
    made = pack(cohort, tmp_path / "a.zip", "cohort/flags.tsv", "field/metadata.json")
    entity = ROCrate(made).get("results/cohort/flags.tsv")
    assert "single cells" in entity["description"]
    with zipfile.ZipFile(made) as stored:
        assert stored.read("results/cohort/flags.tsv") == flags.read_bytes()


def test_its_manifest_holds_and_names_every_other_file(cohort: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(pack(cohort, tmp_path / "a.zip")) as stored:
        assert stored.testzip() is None
        stored.extractall(tmp_path / "unpacked")
        names = stored.namelist()
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "manifest.sha256"],
        cwd=tmp_path / "unpacked",
        capture_output=True,
        text=True,
        check=True,
    )
    told = {line.removesuffix(": OK") for line in checked.stdout.splitlines()}
    assert told == set(names) - {"manifest.sha256", "ro-crate-metadata.json"}
    assert {"config/config.yaml", "config/samples.tsv", "logs/segment/field.log", "results/field/mask.zarr/c/0"} <= told
    assert "logs/archive/cohort.log" not in told
    assert not any("snakemake_timestamp" in name for name in names)


def test_the_same_results_give_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    first, second = (pack(cohort, tmp_path / name).read_bytes() for name in ("a.zip", "b.zip"))
    assert first == second
    (cohort / "logs" / "archive" / "cohort.log").write_text("another time\n")
    assert pack(cohort, tmp_path / "c.zip").read_bytes() == first


def test_without_a_licence_or_a_creator_none_is_invented(cohort: Path, tmp_path: Path) -> None:
    root = ROCrate(pack(cohort, tmp_path / "a.zip")).root_dataset
    assert root["license"] == "No licence is stated."
    assert not {"author", "creator", "creditText", "publisher"} & set(root.properties())


@pytest.mark.parametrize("place", ["field/mask.zarr/c/1", "field/mask.zarr/d", "field/secret.json", "elsewhere"])
def test_what_lies_elsewhere_is_not_packed_by_a_link(cohort: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text("{}")
    link = cohort / "results" / place
    link.symlink_to(outside if place in ("field/mask.zarr/d", "elsewhere") else outside / "secret.json")
    asked = {"field/secret.json": "field/secret.json", "elsewhere": "elsewhere/secret.json"}.get(place, "field")
    with pytest.raises(ArchiveError, match="is a link, or lies outside"):
        pack(cohort, tmp_path / "a.zip", asked)
    assert not (tmp_path / "a.zip").exists()


def test_a_path_that_leads_out_of_the_results_is_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="lies outside"):
        pack(cohort, tmp_path / "a.zip", "../samples.tsv")


def test_a_results_folder_that_is_a_link_itself_may_be_packed(cohort: Path, tmp_path: Path) -> None:
    (cohort / "results").rename(tmp_path / "big_disk")
    (cohort / "results").symlink_to(tmp_path / "big_disk")
    with zipfile.ZipFile(pack(cohort, tmp_path / "a.zip")) as stored:
        assert "results/field/polygons.parquet" in stored.namelist()


def test_a_missing_result_leaves_no_half_archive(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run the workflow to its end first"):
        pack(cohort, tmp_path / "a.zip", "field/cells.parquet")
    assert [path.name for path in tmp_path.glob("*a.zip*")] == []


def test_the_job_writes_it(cohort: Path, job: Callable[..., Any]) -> None:
    made = job("archive", input={}, output={"archive": "cohort.crate.zip"}, plan=plan_of(cohort), logs=cohort / "logs")
    made.input = [str(cohort / "results" / "field" / "metadata.json")]
    archive.main(made)
    assert zipfile.is_zipfile(made.output.archive)


def test_a_result_that_does_not_say_what_made_it_is_refused(cohort: Path, tmp_path: Path) -> None:
    (cohort / "results" / "field" / "metadata.json").write_text("{}")
    with pytest.raises(TableError, match=r"metadata.json does not say what code made it"):
        pack(cohort, tmp_path / "a.zip")


def test_a_stack_is_made_from_its_planes_and_large_images_are_told_by_a_sample(cohort: Path, tmp_path: Path) -> None:
    code = {"version": "0.1.0", "commit": None, "modified": None}
    metadata = cohort / "results" / "field" / "metadata.json"
    checksum = {"size_bytes": 80 * 10**9, "sha256": None, "sampled_sha256": "abc"}
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"image_checksum": checksum}))
    stack = cohort / "results" / "stacks" / "pair"
    stack.mkdir(parents=True)
    (stack / "link_report.json").write_text(json.dumps({"code": code, "made_from": [{"sample": "field"}]}))
    plan = plan_of(cohort) | {"stacks": {"pair": []}}
    files = [metadata, stack / "link_report.json"]
    archive_results(plan, files, tmp_path / "a.zip", logs=tmp_path / "none", own_log=tmp_path / "none.log")
    crate = ROCrate(tmp_path / "a.zip")
    linking = crate.dereference("#stitch-pair")
    assert [plane.id for plane in linking["object"]] == ["results/field/"]
    assert linking["result"].id == "results/stacks/pair/"
    assert linking["instrument"]["name"] == "cohortseg 0.1.0 (commit unknown)"
    image = crate.dereference("#image-field")
    assert (image["contentSize"], image["identifier"], image.get("sha256")) == (
        "80000000000",
        "sampled_sha256:abc",
        None,
    )


def test_files_beyond_the_old_limit_of_zips_are_packed(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1_000_000)  # in place of 2 GiB
    with zipfile.ZipFile(pack(cohort, tmp_path / "a.zip")) as stored:
        assert stored.getinfo("results/field/mask.zarr/c/0").extract_version == zipfile.ZIP64_VERSION
        assert stored.read("results/field/mask.zarr/c/0") == bytes(3_000_000)
