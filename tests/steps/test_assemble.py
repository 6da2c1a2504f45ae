"""Step assemble: the order of a stack's planes as configs.yml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cohortseg.errors import CohortsegError, MissingFileError, StackError, TableError
from cohortseg.steps import assemble
from cohortseg.steps.assemble import read_order, write_configs


def test_the_order_is_written_as_users_know_it(job: Callable[..., Any]) -> None:
    planes = [{"sample": "low", "z_index": -1}, {"sample": "007", "z_index": 4}]
    snakemake = job("assemble", input={}, output={"configs": "configs.yml"}, stack="s", planes=planes)
    assemble.main(snakemake)
    configs = Path(snakemake.output.configs)
    assert yaml.safe_load(configs.read_text()) == {
        "stitch": [{"image_name": "low", "z_index": -1}, {"image_name": "007", "z_index": 4}]
    }
    assert read_order(configs) == [("low", -1), ("007", 4)]


def test_an_order_to_be_filled_in_has_nulls(tmp_path: Path) -> None:
    write_configs(tmp_path / "configs.yml", [("a", None), ("b", None)])
    assert (tmp_path / "configs.yml").read_text().count("z_index: null") == 2
    assert read_order(tmp_path / "configs.yml") == [("a", None), ("b", None)]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, MissingFileError, "configs.yml does not exist"),
        ("stitch: [", TableError, "configs.yml is malformed"),
        ("- a\n- b\n", TableError, "configs.yml is malformed: it holds a list"),
        ("", StackError, "is not the order of a stack"),
        ("stitch: []", StackError, "is not the order of a stack"),
        ("planes: [{image_name: a, z_index: 0}]", StackError, "is not the order of a stack"),
        ("stitch: [{image_name: a}]", StackError, "image_name and z_index in each entry"),
        ("stitch: [{image_name: a, z_index: 0, more: 1}]", StackError, "image_name and z_index in each entry"),
        ("stitch: [{image_name: a, z_index: top}]", StackError, "plane a in .* has z_index 'top'; a whole number"),
        ("stitch: [{image_name: a, z_index: 1.5}]", StackError, r"has z_index 1\.5; a whole number"),
        ("stitch: [{image_name: a, z_index: true}]", StackError, "has z_index True; a whole number"),
        ("stitch: [{image_name: a, z_index: 0}, {image_name: a, z_index: 1}]", StackError, "names plane a twice"),
        ("stitch: !!python/object/apply:os.system [echo]", TableError, "configs.yml is malformed"),
    ],
)
def test_a_faulty_order_is_told(text: str | None, error: type[CohortsegError], message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "configs.yml").write_text(text)
    with pytest.raises(error, match=message):
        read_order(tmp_path / "configs.yml")
