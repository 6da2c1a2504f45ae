"""The workflow itself: cohorts of very many images, and one image cut into parts.

    python tests/benchmarks/workflow.py many                      # 2,000 images of 96 x 96 px, fifty to a job
    python tests/benchmarks/workflow.py many --profile DIRECTORY  # the same through another profile, as of a cluster
    python tests/benchmarks/workflow.py scatter                   # 16,384 x 16,384 px in 1, 2 and 5 parts

Everything is made in a scratch folder (--scratch), which the nodes of a cluster must share.
"""

import argparse
import hashlib
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from made import DIAMETER_PX, base_field, mirrored, write_tiff  # noqa: E402
from processes import Ran, run  # noqa: E402
from tables import header, row  # noqa: E402

SMALL_PX = 96


def snakemake(folder: Path, profile: Path, *arguments: str) -> tuple[Ran, str]:
    """Run the workflow in a folder; return what the main process took, and what it printed."""
    log = folder / "printed.log"
    command = [
        "-m", "snakemake", "--directory", str(folder), "--snakefile", str(ROOT / "workflow" / "Snakefile"),
        "--workflow-profile", str(profile), *arguments, "--configfile", str(folder / "config.yaml"),
    ]  # fmt: skip
    # The shell keeps the output apart; `exec` leaves one process, whose memory is measured.
    ran = run(["/bin/sh", "-c", 'log=$1; shift; exec "$@" > "$log" 2>&1', "sh", log, sys.executable, *command])
    return ran, log.read_text(encoding="utf-8")


def write_cohort(folder: Path, config: dict[str, object], rows: Sequence[tuple[str, ...]]) -> None:
    """Write config and sample sheet of a cohort; the first row is the header."""
    (folder / "samples.tsv").write_text("".join("\t".join(each) + "\n" for each in rows), encoding="utf-8")
    general = {"samples": "samples.tsv", "device": "cpu", "diameter": DIAMETER_PX, "modality": "fluorescence"}
    (folder / "config.yaml").write_text(yaml.safe_dump({**general, **config}), encoding="utf-8")


def many(folder: Path, profile: Path, n_images: int, batch: int) -> None:
    """Print what a cohort of tiny images takes."""
    (folder / "images").mkdir()
    base, _ = base_field(1024)
    names = [f"image{i:05d}" for i in range(n_images)]
    for i, name in enumerate(names):
        box = mirrored(base, 61 * i, 37 * i, SMALL_PX, SMALL_PX)
        tifffile.imwrite(folder / "images" / f"{name}.tif", np.ascontiguousarray(box))
    write_cohort(folder, {"batch": batch}, [("sample", "image"), *((name, f"images/{name}.tif") for name in names)])
    planned, _ = snakemake(folder, profile, "--dry-run")
    whole, printed = snakemake(folder, profile)
    summary = pd.read_csv(folder / "results" / "cohort" / "summary.tsv", sep="\t")
    benchmarks = pd.read_csv(folder / "results" / "cohort" / "benchmarks.tsv", sep="\t")
    steps_s = benchmarks.loc[benchmarks["stage"].isna(), "seconds"].sum()
    jobs_s = sum(pd.read_csv(path, sep="\t")["s"].iloc[-1] for path in (folder / "benchmarks" / "batch").glob("*.tsv"))
    print("\n".join([
        f"{n_images} images of {SMALL_PX} x {SMALL_PX} px, {batch} to a job, profile {profile.name}; "
        f"{(summary['status'] == 'ok').sum()} done, {summary['n_cells'].sum()} cells.\n",
        *header("", "found"),
        row("planning (`--dry-run`), s", f"{planned.wall_s:.1f}"),
        row("the whole run, s", f"{whole.wall_s:.0f}"),
        row("jobs", len(re.findall(r"^(?:local)?rule (?!all:)", printed, re.M))),
        row("jobs sent to SLURM", printed.count("submitted with SLURM jobid")),
        row("seconds of work an image", f"{steps_s / n_images:.3f}"),
        row("seconds of its batch's job an image", f"{jobs_s / n_images:.3f}"),
        row("wall seconds an image", f"{whole.wall_s / n_images:.3f}"),
        row("peak memory, GB (of the main process, or its largest job here)", f"{whole.peak_bytes / 2**30:.2f}"),
    ]), flush=True)  # fmt: skip


def scatter(folder: Path, profile: Path, side_px: int, parts: Sequence[int]) -> None:
    """Print what an image takes in several numbers of parts, as if each part had a machine of its own."""
    write_tiff(folder / "image.tif", side_px)
    print(
        "\n".join(
            header(
                "parts",
                "prepare, s",
                "longest part, s",
                "gather, s",
                "with a machine for each, s",
                "all parts, s",
                "polygons",
            )
        ),
        flush=True,
    )
    first = ""
    for count in parts:
        inside = folder / str(count)
        inside.mkdir()
        write_cohort(inside, {"scatter": count}, [("sample", "image"), ("image", "../image.tif")])
        snakemake(inside, profile, "polygons")
        taken = {
            rule: [pd.read_csv(path, sep="\t")["s"].iloc[-1] for path in (inside / "benchmarks" / rule).glob("*.tsv")]
            for rule in ("prepare", "segment", "segment_part", "gather")
        }
        prepare, part, gather = taken["prepare"], taken["segment"] + taken["segment_part"], taken["gather"]
        found = hashlib.sha256((inside / "results" / "image" / "polygons.parquet").read_bytes()).hexdigest()
        first = first or found
        print(row(
            count, f"{sum(prepare):.1f}", f"{max(part):.1f}", f"{sum(gather):.1f}",
            f"{sum(prepare) + max(part) + sum(gather):.1f}", f"{sum(part):.1f}",
            "the same" if found == first else "DIFFERENT",
        ), flush=True)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["many", "scatter"])
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "local")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--scratch", help="folder for the cohort; the default is the system's")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.scratch) as name:
        if given.what == "many":
            many(Path(name), given.profile.absolute(), given.images, given.batch)
        else:
            scatter(Path(name), given.profile.absolute(), given.side, given.parts)


if __name__ == "__main__":
    main()
