"""Step gather: the parts of a scattered image, joined to what segmenting it in one job gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cohortseg.segment.audit import SeamAudit
from cohortseg.steps.job import run_job
from cohortseg.steps.segment import log_outcome
from cohortseg.stores.polygons import PolygonWriter, read_polygon_groups
from cohortseg.stores.tables import read_json, write_json


def main(snakemake: Any) -> None:
    """Run the step as a job of the workflow."""

    def step() -> None:
        gather(
            [Path(path) for path in snakemake.input.polygons],
            [read_json(Path(path)) for path in snakemake.input.metadata],
            read_json(Path(snakemake.input.prepared)),
            Path(snakemake.output.polygons),
            Path(snakemake.output.metadata),
            sample=snakemake.params.sample,
            z_index=snakemake.params.z_index,
        )

    run_job(snakemake, step, supersedes=("segment", "prepare", "segment_part"))


def gather(
    parts: Sequence[Path],
    facts: Sequence[Mapping[str, Any]],
    prepared: Mapping[str, Any],
    polygons: Path,
    metadata: Path,
    *,
    sample: str,
    z_index: int | None,
) -> None:
    """Join the cells and the facts of all parts, in order.

    Every cell is in one part, whole: joining is concatenation, with `cell_id` counted through.
    """
    offset = 0
    with PolygonWriter(polygons, shape=tuple(facts[0]["shape"])) as writer:
        for part, told in zip(parts, facts, strict=True):
            for table in read_polygon_groups(part):
                table["cell_id"] += offset
                writer.append(table)
            offset += told["counts"]["cells"]
    joined = {
        **{key: value for key, value in facts[0].items() if key != "seam_audit_state"},
        "sample": sample,
        "z_index": z_index,
        "scatter": len(parts),
        "counts": _sums([told["counts"] for told in facts]),
        "seconds": _sums([prepared["seconds"], *(told["seconds"] for told in facts)]),
        "image_checksum": prepared["image_checksum"],
        "peak_memory_bytes": _largest([prepared["peak_memory_bytes"], *(told["peak_memory_bytes"] for told in facts)]),
        "seam_audit": SeamAudit.merged([told["seam_audit_state"] for told in facts]).result(),
    }
    write_json(metadata, joined)
    log_outcome(joined)


def _sums(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(part.get(name, 0) for part in parts) for name in dict.fromkeys(n for part in parts for n in part)}


def _largest(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: max(part.get(name, 0) for part in parts) for name in dict.fromkeys(n for part in parts for n in part)}
