"""Step assemble: the planes of a stack in, their order as configs.yml out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cohortseg.errors import StackError
from cohortseg.steps.job import run_job
from cohortseg.stores.tables import read_yaml, write_yaml


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        planes = [(plane["sample"], plane["z_index"]) for plane in snakemake.params.planes]
        write_configs(Path(snakemake.output.configs), planes)

    run_job(snakemake, step)


def write_configs(path: Path, planes: Sequence[tuple[str, int | None]]) -> None:
    """Write the z order of a stack: names of its planes, and the z_index of each (None to be filled in by hand)."""
    write_yaml(path, {"stitch": [{"image_name": name, "z_index": z_index} for name, z_index in planes]})


def read_order(path: Path) -> list[tuple[str, int | None]]:
    """Return the z order that `write_configs` wrote or a user edited: names of planes, and the z_index of each.

    Raises
    ------
    StackError
        If the file has another form, names no plane or one twice, or a z_index is neither a whole number nor empty.
    """
    entries = read_yaml(path).get("stitch")
    well_formed = isinstance(entries, list) and all(
        isinstance(entry, Mapping) and set(entry) == {"image_name", "z_index"} for entry in entries
    )
    if not well_formed or not entries:
        raise StackError(
            f"{path} is not the order of a stack",
            "a list `stitch` with image_name and z_index in each entry was expected",
            "Correct the file.",
        )
    names = [str(entry["image_name"]) for entry in entries]
    for entry, name in zip(entries, names, strict=True):
        z_index = entry["z_index"]
        if z_index is not None and (not isinstance(z_index, int) or isinstance(z_index, bool)):
            raise StackError(
                f"plane {name} in {path} has z_index {z_index!r}",
                "a whole number was expected",
                "Set its z_index in the file.",
            )
        if names.count(name) > 1:
            raise StackError(f"{path} names plane {name} twice", "each plane once was expected", "Correct the file.")
    return [(name, entry["z_index"]) for name, entry in zip(names, entries, strict=True)]
