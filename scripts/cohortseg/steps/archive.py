"""Step archive: the results of a cohort in, one RO-Crate with all of them and how they came about out."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from cohortseg.errors import TableError
from cohortseg.steps.batch_jobs import jobs_of
from cohortseg.steps.crate import METADATA_NAME, Cohort, crate_metadata
from cohortseg.steps.job import run_job
from cohortseg.stores.archives import Archive, files_of, write_archive
from cohortseg.stores.tables import json_bytes, read_json

_LOGGER = logging.getLogger("cohortseg")


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        archive_results(
            snakemake.params.plan,
            results_of(snakemake.params.plan, snakemake.input),
            Path(snakemake.output.archive),
            logs=Path(snakemake.params.logs),
            own_log=Path(snakemake.log[0]),
        )

    run_job(snakemake, step)


def results_of(plan: Mapping[str, Any], inputs: Sequence[str]) -> list[Path]:
    """Return the results among the inputs of the rule, and those that the manifests of batches stand for."""
    batches = plan["batches"].values()
    manifests = {batch["manifest"] for batch in batches}
    jobs = chain.from_iterable(jobs_of(plan, batch["samples"], batch["stacks"]) for batch in batches)
    # Overlaps are on the way to a stack's cells, which hold what came of them.
    made = [file for job in jobs if job.rule != "overlaps" for file in job.outputs.values()]
    return [Path(file) for file in [*inputs, *made] if file not in manifests]


def archive_results(
    plan: Mapping[str, Any], results: Sequence[Path], archive: Path, *, logs: Path, own_log: Path
) -> None:
    """Pack results, logs, config and sample sheet into an RO-Crate; the same files give the same bytes.

    In the archive are `results/` and `logs/` as they lie on the disk, `config/config.yaml` with every setting,
    `config/samples.tsv`, `manifest.sha256`, and `ro-crate-metadata.json`. Of the images it has the checksums only.

    Parameters
    ----------
    plan
        As `steps.plan.make_plan` makes it.
    results
        Files and folders below the folder of results.
    logs
        The folder of logs; it need not be there.
    own_log
        The log of this job, which is still being written and left out.

    Raises
    ------
    MissingFileError
        A result is not there.
    TableError
        A result does not say how it came about.
    ArchiveError
        A result or a log is a link, or lies elsewhere.
    """
    folder, settings = Path(plan["results"]), plan["settings"]
    files = [file for path in results for file in files_of(path, folder)]
    written = [file for file in files_of(logs, logs) if file.resolve() != own_log.resolve()] if logs.is_dir() else []
    cohort = Cohort(
        title=settings["report"]["title"],
        license=settings["archive"]["license"],
        creator=settings["archive"]["creator"],
        published=_newest(files),
        samples={name: _provenance(folder / name / "metadata.json") for name in plan["samples"]},
        stacks={name: _provenance(folder / "stacks" / name / "link_report.json") for name in plan["stacks"]},
    )
    with write_archive(archive) as target:
        for path, name in chain(_named(files, folder, "results"), _named(written, logs, "logs")):
            target.add(path, name)
        _add_config(target, settings)
        target.add_bytes("".join(f"{file.sha256}  {file.name}\n" for file in target.packed).encode(), "manifest.sha256")
        target.add_bytes(json_bytes(crate_metadata(cohort, tuple(target.packed))), METADATA_NAME)
    _LOGGER.info("%d files, %d bytes, in %s", len(target.packed), archive.stat().st_size, archive)


def _provenance(path: Path) -> dict[str, Any]:
    """Return what a step said of its result; TableError where an earlier version made it, which did not yet say so."""
    facts = read_json(path)
    if "code" not in facts:
        raise TableError(
            f"{path} does not say what code made it",
            "results of this version were expected",
            f"Delete {path.parent} and run again.",
        )
    return facts


def _named(files: Sequence[Path], folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield files with the names that they have in the archive."""
    return ((file, f"{name}/{file.absolute().relative_to(folder.absolute()).as_posix()}") for file in files)


def _add_config(target: Archive, settings: Mapping[str, Any]) -> None:
    """Add all settings, of which the sheet and the results are named as they lie in the archive, and the sheet."""
    placed = {**settings, "samples": "config/samples.tsv", "results": "results"}
    target.add_bytes(yaml.safe_dump(placed, sort_keys=False, allow_unicode=True).encode(), "config/config.yaml")
    target.add(Path(settings["samples"]), "config/samples.tsv")


def _newest(files: Sequence[Path]) -> str:
    """Return when the newest file was written, ISO 8601, UTC, so that a second archive has the same date."""
    return datetime.fromtimestamp(int(max(file.stat().st_mtime for file in files)), UTC).isoformat()
