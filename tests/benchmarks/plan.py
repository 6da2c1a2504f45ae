"""What a cohort of slides takes on a cluster: hours, storage, jobs, files, and which part is the slowest.

    python tests/benchmarks/plan.py                       # 10,000 slides of 40,000 px on 64 GPUs
    python tests/benchmarks/plan.py --slides 300 --device-s 22 --cores-per-device 16

Every figure is an option. The defaults are measured, on the CPU of RESULTS.md, but for those that the table names as
assumed: no GPU, no cluster and no shared storage were at hand.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Figures:
    """What the plan is made from; names end with their unit."""

    slides: int = 10_000
    side_px: int = 40_000
    devices: int = 64
    cores_per_device: int = 8
    """Of the job that has the device, as profiles/slurm asks for."""
    other_cores: int = 256
    """For the rules after the segmentation."""
    read_gb_per_s: float = 5.0
    write_gb_per_s: float = 2.0
    jobs_per_s: float = 5.0
    """Submitted, as profiles/slurm limits it."""
    device_s: float = 10.0
    """Of the network, a slide, on a GPU: the aim, not measured."""
    cpu_mpx_per_s: float = 1.12
    """Of a whole segmentation on 4 cores, nuclei-mini, 16,384 px."""
    rest_core_s_per_mpx: float = 0.13
    """Of what stays on the CPU beside a GPU: read, trace and write of the same run, holes filled and pieces chosen."""
    rasterise_core_s_per_mpx: float = 0.021
    quantify_core_s_per_mpx: float = 0.072
    """These two: CPU seconds of 8,192 px less those of 2,048 px, one channel."""
    assess_core_s_per_mpx: float = 0.057
    """CPU seconds of 5,120 px less those of 2,048 px, one channel; larger images take less, as focus is sampled."""
    start_s: float = 3.0
    """Of a job, before its work begins: Python and its imports."""
    cells_per_mpx: float = 850
    image_bytes_per_px: float = 1.39
    """Of the made image: one channel of 16 bits, deflated."""
    times_read: float = 3.0
    """From the storage: by segment, whose second looks its node's memory serves, by quantify and by assess."""
    polygons_bytes_per_cell: float = 106
    cells_bytes_per_cell: float = 79
    """These two at 2,048 px: the larger made images repeat themselves, which compresses."""
    mask_bytes_per_cell: float = 124
    """At 8,192 px, all levels."""
    small_bytes: float = 0.8e6
    """A slide: metadata, preview, logs, benchmarks."""
    shard_px: int = 4096
    chunk_px: int = 1024
    other_files: int = 19
    """A slide: metadata, preview, crops, quality, four logs, four benchmarks, Snakemake's own note of seven outputs."""


ASSUMED = {"devices", "cores_per_device", "other_cores", "read_gb_per_s", "write_gb_per_s", "device_s", "times_read"}
"""Not measured: the cluster that is asked about, and the GPU."""


def parts(figures: Figures) -> dict[str, float]:
    """Return the hours that each part of the cluster is busy with the whole cohort; the longest is the bottleneck."""
    mpx = figures.side_px**2 / 1e6
    cells = figures.cells_per_mpx * mpx
    written = cells * (figures.polygons_bytes_per_cell + figures.cells_bytes_per_cell + figures.mask_bytes_per_cell)
    read = figures.image_bytes_per_px * mpx * 1e6 * figures.times_read
    rates = (figures.rasterise_core_s_per_mpx, figures.quantify_core_s_per_mpx, figures.assess_core_s_per_mpx)
    after = sum(rates) * mpx
    seconds = {
        "devices: the network": (figures.device_s + figures.start_s) / figures.devices,
        "cores beside the devices: the rest of the segmentation": figures.rest_core_s_per_mpx
        * mpx
        / (figures.devices * figures.cores_per_device),
        "other cores: rasterise, quantify and assess": (after + len(rates) * figures.start_s) / figures.other_cores,
        "storage, reading": read / (figures.read_gb_per_s * 1e9),
        "storage, writing": written / (figures.write_gb_per_s * 1e9),
        "scheduler: submitting": jobs(figures) / figures.slides / figures.jobs_per_s,
    }
    return {part: each * figures.slides / 3600 for part, each in seconds.items()}


def on_cpu(figures: Figures) -> Figures:
    """Return the figures where each device is a node of four cores without a GPU, whose rate has all in it."""
    seconds = figures.side_px**2 / 1e6 / figures.cpu_mpx_per_s
    return replace(figures, device_s=seconds, rest_core_s_per_mpx=0.0)


def jobs(figures: Figures) -> int:
    """Return the jobs that the scheduler sees: segment to assess of each slide, four, and two at the end."""
    return 4 * figures.slides + 2


def mask_files(figures: Figures) -> int:
    """Return the files of one mask.zarr without empty shards: those of each level of its pyramid, and its metadata."""
    side, count = figures.side_px, 2
    while True:
        count += math.ceil(side / figures.shard_px) ** 2 + 1
        if side <= figures.chunk_px:
            return count
        side = math.ceil(side / 2)


def storage(figures: Figures) -> dict[str, tuple[float, float]]:
    """Return bytes and files of all slides, by what they are."""
    mpx = figures.side_px**2 / 1e6
    cells, n = figures.cells_per_mpx * mpx, figures.slides
    return {
        "images": (n * mpx * 1e6 * figures.image_bytes_per_px, n),
        "polygons.parquet": (n * cells * figures.polygons_bytes_per_cell, n),
        "cells.parquet": (n * cells * figures.cells_bytes_per_cell, n),
        "mask.zarr": (n * cells * figures.mask_bytes_per_cell, n * mask_files(figures)),
        "all others": (n * figures.small_bytes, n * figures.other_files),
    }


def tables(figures: Figures) -> list[str]:
    """Return the plan as lines of Markdown."""
    cases = {
        f"GPUs at {figures.device_s:g} s a slide (assumed)": figures,
        f"nodes of 4 cores at {figures.cpu_mpx_per_s:g} Mpx/s (measured)": on_cpu(figures),
    }
    found = {name: parts(case) for name, case in cases.items()}
    lines = [
        f"{figures.slides:,} slides of {figures.side_px:,} × {figures.side_px:,} px on {figures.devices} devices.",
        "",
    ]
    lines += [f"| busy, hours | {' | '.join(found)} |", f"| --- |{' --- |' * len(found)}"]
    for part in parts(figures):
        lines.append(f"| {part} | {' | '.join(_marked(part, hours) for hours in found.values())} |")
    lines += ["", *_said(figures), "", "| stored | TB | files |", "| --- | --- | --- |"]
    lines += [f"| {what} | {size / 1e12:.2f} | {files:,.0f} |" for what, (size, files) in storage(figures).items()]
    lines += ["", "| figure | value | |", "| --- | --- | --- |"]
    for field in fields(figures):
        kind = "assumed" if field.name in ASSUMED else ""
        lines.append(f"| {field.name} | {getattr(figures, field.name):g} | {kind} |")
    return lines


def _said(figures: Figures) -> list[str]:
    """Return what is no time and no storage."""
    mpx = figures.side_px**2 / 1e6
    return [
        f"Jobs that the scheduler sees: {jobs(figures):,}.",
        f"Cores that a GPU of {figures.device_s:g} s a slide would need beside it to be kept busy: "
        f"{figures.rest_core_s_per_mpx * mpx / figures.device_s:.0f}.",
    ]


def _marked(part: str, hours: dict[str, float]) -> str:
    """Return the hours of a part, in bold where it is the slowest."""
    return f"**{hours[part]:,.1f}**" if part == max(hours, key=lambda name: hours[name]) else f"{hours[part]:,.1f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in fields(Figures):
        kind = type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default, metavar="N")
    print("\n".join(tables(Figures(**vars(parser.parse_args(arguments))))))


if __name__ == "__main__":
    main()
