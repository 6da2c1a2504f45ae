"""Step assemble: the planes of a stack in, their order as configs.yml out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohortseg.steps.job import run_job
from cohortseg.stores.tables import write_yaml


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        planes = [(plane["sample"], plane["z_index"]) for plane in snakemake.params.planes]
        write_configs(Path(snakemake.output.configs), planes)

    run_job(snakemake, step)


def write_configs(path: Path, planes: Sequence[tuple[str, int | None]]) -> None:
    """Write the z order of a stack: names of its planes, and the z_index of each (None to be filled in by hand)."""
    write_yaml(path, {"stitch": [{"image_name": name, "z_index": z_index} for name, z_index in planes]})
