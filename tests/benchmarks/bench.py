"""The benchmarks: whole processes, measured side by side in one run, as Markdown tables with ratios.

`make bench` runs them all. Against Cellpose 3.1.1.3, which cannot share our environment, they use one of its own: the
Python that COHORTSEG_CELLPOSE3 names, else .bench/cellpose3, made at the first run. Where that cannot be made, the
rows that need it are left out, and the table says so.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import tifffile
from made import DIAMETER_PX, base_field, noisy_flows, write_channels, write_tiff
from made_planes import write_plane
from numpy.typing import NDArray
from processes import ROOT, Ran, describe_machine, infer, memory_bytes, n_cores, run
from tables import header, median, megapixels_per_s, row, stages

from cohortseg.evaluate import average_precision

HERE = Path(__file__).resolve().parent
CELLPOSE = HERE / "cellpose3.py"
CELLPOSE_LIMIT = 0.8
"""Share of the machine's memory that Cellpose may take."""
NEAR_4K_PX = 4000
AP_THRESHOLDS = (0.5, 0.75, 0.9)
GIVEN = ("--diameter", str(DIAMETER_PX))


@dataclass(frozen=True)
class Run:
    """What all benchmarks are given: a folder to work in, Cellpose's Python (None: there is none), and the options."""

    folder: Path
    cellpose: Path | None
    given: argparse.Namespace


def cellpose3() -> Path | None:
    """Return the Python that has Cellpose 3.1.1.3, made where it is not there; None, said why, where it cannot be."""
    if given := os.environ.get("COHORTSEG_CELLPOSE3"):
        return Path(given)
    folder = ROOT / ".bench" / "cellpose3"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print("Building an environment for Cellpose 3.1.1.3 in .bench: about 6 GB.", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "cellpose==3.1.1.3"]
        if subprocess.run(list(map(str, pip)), check=False).returncode:
            print("Cellpose 3.1.1.3 could not be installed: rows that need it are left out.", file=sys.stderr)
            return None
        (folder / "ready").touch()
    return python


def whole(bench: Run) -> list[str]:
    """Segment an image with the same 6.6 M-parameter network, by Cellpose and by us, in turns."""
    side_px = bench.given.whole_side
    width_px = round(side_px * 2509 / 3138)
    lines = [f"## Whole segmentation, {side_px:,} × {width_px:,} px, the same network of 6.6 M parameters", ""]
    if bench.cellpose is None:
        return [*lines, "Not measured: no Cellpose 3.1.1.3.", ""]
    folder = bench.folder
    image, found = folder / "image.tif", folder / "cellpose.npy"
    tifffile.imwrite(image, base_field(side_px)[0][:, :width_px])
    wide = _wide_checkpoint(folder)
    first = infer(image, folder / "wide", *GIVEN, "--model-path", wide)  # converts the network and keeps it
    rans: dict[str, list[Ran]] = {"Cellpose 3.1.1.3": [], "cohortseg": [], "cohortseg, nuclei-mini": []}
    for _ in range(bench.given.repeats):
        theirs = run([bench.cellpose, CELLPOSE, "eval", wide, image, found, str(DIAMETER_PX)])
        ours = infer(image, folder / "wide", *GIVEN, "--model-path", wide), infer(image, folder / "mini", *GIVEN)
        for name, ran in zip(rans, (theirs, *ours), strict=True):
            rans[name].append(ran)
    lines += header("", "process, s", "ratio", "without start-up, s", "ratio", "peak, GB", "cells")
    reference = _medians(rans["Cellpose 3.1.1.3"])
    for name, those in rans.items():
        process_s, net_s = _medians(those)
        peak = max(ran.peak_bytes for ran in those) / 2**30
        lines.append(row(name, f"{process_s:.1f}", f"{reference[0] / process_s:.1f} ×",
                         f"{net_s:.1f}", f"{reference[1] / net_s:.1f} ×", f"{peak:.2f}", _cells(those[0])))  # fmt: skip
    agreement = _agreement(folder / "wide" / "polygons.parquet", np.load(found))
    return [
        *lines, "",
        f"Medians of {bench.given.repeats}, in turns. The first run ever, which converts the network, took "
        f"{first.wall_s:.1f} s. cohortseg's cells against Cellpose's: {agreement}. Seconds by stage: "
        f"{stages(rans['cohortseg'][-1].said['seconds'])}.", "",
    ]  # fmt: skip


def _wide_checkpoint(folder: Path) -> Path:
    from wide import write_wide_checkpoint

    write_wide_checkpoint(folder / "wide.pth")
    return folder / "wide.pth"


def _net_s(ran: Ran) -> float:
    """Return the seconds without imports and loading: what `CellposeModel.eval` took, or the segmentation."""
    seconds = ran.said["seconds"]
    return float(seconds["total"] if isinstance(seconds, dict) else seconds)


def _medians(rans: Sequence[Ran]) -> tuple[float, float]:
    return median([ran.wall_s for ran in rans]), median([_net_s(ran) for ran in rans])


def _cells(ran: Ran) -> int:
    return int(ran.said["cells"] if "cells" in ran.said else ran.said["counts"]["cells"])


def _agreement(polygons: Path, reference: NDArray[np.uint32]) -> str:
    import cohortseg
    from cohortseg.stores.polygons import read_polygons

    table = read_polygons(polygons, columns=None, box=None)
    ap = average_precision(reference, cohortseg.rasterise(table, reference.shape), AP_THRESHOLDS).ap
    return ", ".join(f"AP@{at} {value:.3f}" for at, value in zip(AP_THRESHOLDS, ap, strict=True))


def postprocess(bench: Run) -> list[str]:
    """Turn noisy flows into labels: `compute_masks` of both Cellposes, and `labels_from_flows`."""
    side_px = bench.given.flow_side
    flow, logits = noisy_flows(side_px)
    return [f"## Post-processing alone, noisy flows of {side_px:,}²", "", *_compared(bench, flow, logits), ""]


def real_flows(bench: Run) -> list[str]:
    """Do the same with the flows that the built-in network gives of real images, side by side in one field."""
    lines = ["## Post-processing alone, flows of real images", ""]
    pictures = sorted((bench.given.data / "dsb2018" / "images").glob("*.png"))
    if not pictures:
        return [*lines, "Not measured: no real images.", ""]
    from real import field_of

    flow, logits, n_images = field_of(pictures)
    height, width = logits.shape
    lines += [f"{n_images} fluorescence images of dsb2018 in a field of {height:,} × {width:,} px.", ""]
    return [*lines, *_compared(bench, flow, logits), ""]


def _compared(bench: Run, flow: NDArray[np.float32], logits: NDArray[np.float32]) -> list[str]:
    """Return the table of a post-processing; each repeat runs all of them in turn."""
    folder, python = bench.folder, bench.cellpose
    flows = folder / "flows.npz"
    np.savez(flows, flow=flow, logits=logits)
    masks = {sys.executable: folder / "installed.npy"} if python is None else {
        str(python): folder / "3.npy", sys.executable: folder / "installed.npy"
    }  # fmt: skip
    theirs: dict[str, list[Ran]] = {name: [] for name in masks}
    ours = []
    for _ in range(bench.given.repeats):
        for name, labels in masks.items():
            theirs[name].append(run([name, CELLPOSE, "masks", flows, labels]))
        ours.append(run([sys.executable, HERE / "labels.py", flows, folder / "ours.npy"]))
    found, ours_s = np.load(folder / "ours.npy"), _medians(ours)[1]
    table = header("", "s", "ratio", "cells", "our AP@0.9 against it", "peak, GB")
    for name, rans in theirs.items():
        ap = average_precision(np.load(masks[name]), found, (0.9,)).ap[0]
        seconds, said = _medians(rans)[1], rans[0].said
        table.append(row(
            f"`compute_masks`, Cellpose {said['version']}, {said['threads']} threads", f"{seconds:.2f}",
            f"{seconds / ours_s:.1f} ×", said["cells"], f"{ap:.4f}", f"{rans[0].peak_bytes / 2**30:.2f}",
        ))  # fmt: skip
    peak = f"{ours[0].peak_bytes / 2**30:.2f}"
    return [*table, row("`labels_from_flows`", f"{ours_s:.2f}", "1", ours[0].said["cells"], "", peak)]


def scaling(bench: Run) -> list[str]:
    """Segment ever larger images with the built-in network; memory and pixels a second should not change."""
    sides_px = sorted(bench.given.sides)
    lines = ["## Scaling in the image's side, on the CPU", ""]
    lines += header("side, px", "", "process, s", "Mpx/s without start-up", "peak, GB", "cells", "seconds by stage")
    peaks = {}
    for side_px in sides_px:
        image = bench.folder / f"{side_px}.tif"
        write_tiff(image, side_px)
        ran = infer(image, bench.folder / f"out{side_px}", *GIVEN)
        peaks[side_px] = ran.peak_bytes
        lines.append(_scaling_row(side_px, "nuclei-mini", ran))
        if side_px == bench.given.cellpose_side and bench.cellpose is not None:
            lines += _cellpose_at(bench, bench.cellpose, side_px)
        image.unlink()
    smallest = min(px for px in sides_px if px >= min(NEAR_4K_PX, sides_px[-1]))
    ratio = peaks[sides_px[-1]] / peaks[smallest]
    return [*lines, "", f"Peak memory at {sides_px[-1]:,} px is {ratio:.2f} × that at {smallest:,} px.", ""]


def _scaling_row(side_px: int, name: str, ran: Ran) -> str:
    seconds = ran.said["seconds"]
    by_stage = stages(seconds) if isinstance(seconds, dict) else ""
    speed, peak = megapixels_per_s(side_px, _net_s(ran)), f"{ran.peak_bytes / 2**30:.2f}"
    return row(f"{side_px:,}", name, f"{ran.wall_s:.1f}", speed, peak, _cells(ran), by_stage)


def _cellpose_at(bench: Run, python: Path, side_px: int) -> list[str]:
    """Return a row for Cellpose, and one for us with the same network."""
    wide, image = _wide_checkpoint(bench.folder), bench.folder / f"{side_px}.tif"
    command = [python, CELLPOSE, "eval", wide, image, bench.folder / "big.npy", str(DIAMETER_PX)]
    try:
        ran = run(command, round(CELLPOSE_LIMIT * memory_bytes()))
        theirs = _scaling_row(side_px, "Cellpose 3.1.1.3, 6.6 M parameters", ran)
    except subprocess.CalledProcessError as error:
        limit = f"failed with {CELLPOSE_LIMIT * memory_bytes() / 2**30:.0f} GB (status {error.returncode})"
        theirs = row(f"{side_px:,}", "Cellpose 3.1.1.3, 6.6 M parameters", limit, "", "", "", "")
    ours = infer(image, bench.folder / "big", *GIVEN, "--model-path", wide)
    return [theirs, _scaling_row(side_px, "the same network", ours)]


def rasterise(bench: Run) -> list[str]:
    """Draw made polygons: by us from the file to a compressed pyramid, by others into an array in memory."""
    side_px, polygons = bench.given.raster_side, bench.folder / "polygons.parquet"
    n_cells = write_plane(polygons, side_px, 0)
    script, mask = HERE / "rasterising.py", bench.folder / "mask.zarr"
    with_rasterio = find_spec("rasterio") is not None
    theirs = "rasterio" if with_rasterio else "skimage"
    name = "`rasterio.features.rasterize`" if with_rasterio else "`skimage.draw.polygon`, for want of rasterio"
    ways = {
        f"{name}, the array only": (theirs, 1),
        "cohortseg, from file to pyramid, 1 worker": ("ours", 1),
        f"cohortseg, from file to pyramid, {n_cores()} workers": ("ours", n_cores()),
    }
    lines = [f"## Rasterising, {side_px:,}² px with {n_cells:,} cells", ""]
    lines += header("", "s", "ratio", "peak, GB", "the same pixels")
    reference, checksum = None, None
    for way, (what, workers) in ways.items():
        command = [sys.executable, str(script), what, str(polygons), str(mask), str(side_px), str(workers)]
        rans = [run(command) for _ in range(bench.given.repeats)]
        seconds, found = median([ran.said["seconds"] for ran in rans]), rans[0].said["checksum"]
        reference, checksum = reference or seconds, checksum or found
        peak = max(ran.peak_bytes for ran in rans) / 2**30
        same = "yes" if found == checksum else "no"
        lines.append(row(way, f"{seconds:.1f}", f"{reference / seconds:.1f} ×", f"{peak:.2f}", same))
    return [*lines, "", f"Medians of {bench.given.repeats}.", ""]


MEASURED = {"area_px": "area", "major_axis_px": "axis_major_length", "eccentricity": "eccentricity",
            "perimeter_px": "perimeter_crofton", "solidity": "solidity"} | {
    f"{name}_{channel}": f"{theirs}-{channel}"
    for channel in range(4)
    for name, theirs in {"mean": "intensity_mean", "std": "intensity_std", "min": "intensity_min",
                         "max": "intensity_max", "median": "median"}.items()
}  # fmt: skip
"""Our columns that scikit-image has too, and what it calls them."""


def measure(bench: Run) -> list[str]:
    """Measure the cells of a made image of four channels, by us from files and by scikit-image from arrays."""
    sides_px = bench.given.measure_side, min(400, bench.given.measure_side)
    folders = [bench.folder / "measured", bench.folder / "warm"]
    for folder, side_px in zip(folders, sides_px, strict=True):
        folder.mkdir()
        n_cells = write_plane(folder / "polygons.parquet", side_px, 0)
        write_channels(folder / "image.tif", side_px, 4)
    n_cells = pd.read_parquet(folders[0] / "polygons.parquet", columns=["cell_id"]).shape[0]
    lines = [f"## Measuring, {sides_px[0]:,}² px with {n_cells:,} cells and 4 channels", ""]
    lines += header("", "s", "ratio", "peak, GB")
    ways = {"`skimage.measure.regionprops_table`, from arrays": "skimage", "cohortseg, from files": "ours"}
    reference = None
    for way, what in ways.items():
        command = [sys.executable, HERE / "measuring.py", what, *folders]
        rans = [run(command) for _ in range(bench.given.repeats if what == "ours" else 1)]
        seconds = median([ran.said["seconds"] for ran in rans])
        reference = reference or seconds
        peak = max(ran.peak_bytes for ran in rans) / 2**30
        lines.append(row(way, f"{seconds:.1f}", f"{reference / seconds:.1f} ×", f"{peak:.2f}"))
    theirs, ours = (pd.read_parquet(folders[0] / f"{what}.parquet") for what in ways.values())
    gaps = [_gap(ours.set_index("cell_id")[name], theirs.set_index("label")[other]) for name, other in MEASURED.items()]
    said = f"Largest difference of {len(gaps)} columns, relative where scikit-image's is above 1: {max(gaps):.1e}."
    return [*lines, "", said, ""]


def _gap(ours: pd.Series, theirs: pd.Series) -> float:
    """Return the largest difference of two columns of the same cells, relative for values above 1; infinite for NaN."""
    differences = (ours - theirs).abs() / theirs.abs().clip(lower=1)
    return float(differences.fillna(np.inf).max())


STITCHED = {"strtree": "STRtree and IoU of polygons", "stitch3d": "`cellpose.utils.stitch3D`", "ours": "cohortseg"}
STITCH3D_LIMIT_PX = 4000
"""Its table of all cells by all cells takes 0.8 GB here, and 31 GB at 10,000 px."""
STRTREE_LIMIT_PX = 20_000


def stitch(bench: Run) -> list[str]:
    """Link the cells of two made planes, from parquet files to parquet files, by us and by the references."""
    cores = min(bench.given.stitch_cores, n_cores())
    lines = [f"## Stitching two planes on {cores} cores", ""]
    lines += header("side, px", "cells", "", "process, s", "ratio", "without start-up, s", "ratio", "peak, GB", "links")
    told = []
    for side_px in sorted(bench.given.stitch_sides):
        planes = [bench.folder / f"{side_px}_{plane}.parquet" for plane in (0, 1)]
        cells = ", ".join(f"{write_plane(path, side_px, plane):,}" for plane, path in enumerate(planes))
        limits = {"strtree": STRTREE_LIMIT_PX, "stitch3d": STITCH3D_LIMIT_PX}
        methods = [method for method in STITCHED if side_px <= limits.get(method, side_px)]
        rans, links = {}, {}
        for method in methods:
            output = bench.folder / f"{method}_{side_px}"
            command = [sys.executable, HERE / "stitching.py", method, *planes, output, str(side_px), str(cores)]
            repeats = bench.given.repeats if method == "ours" else 1
            rans[method] = [run(command) for _ in range(repeats)]
            links[method] = np.load(output / "links.npy")
            shutil.rmtree(output)
        ours = _medians(rans["ours"])
        for method, those in rans.items():
            process_s, net_s = _medians(those)
            # What drawing its label images took and held is not its own.
            whole = ["", ""] if method == "stitch3d" else [f"{process_s:.1f}", f"{process_s / ours[0]:.1f} ×"]
            net = [f"{net_s:.2f}", f"{net_s / ours[1]:.1f} ×"]
            peak = f"{max(ran.peak_bytes for ran in those) / 2**30:.2f}"
            same = "the same" if np.array_equal(links[method], links["ours"]) else "OTHERS"
            found = f"{len(links[method]):,}, {same}"
            lines.append(row(f"{side_px:,}", cells, STITCHED[method], *whole, *net, peak, found))
        told.append(f"{side_px:,} px: {stages(rans['ours'][-1].said['seconds'])}")
        for path in planes:
            path.unlink()
    return [*lines, "", f"Medians of {bench.given.repeats} for cohortseg; seconds by stage: {'; '.join(told)}.", ""]


PARTS: dict[str, Callable[[Run], list[str]]] = {
    "whole": whole,
    "postprocess": postprocess,
    "real": real_flows,
    "scaling": scaling,
    "rasterise": rasterise,
    "measure": measure,
    "stitch": stitch,
}


def main(arguments: Sequence[str] | None = None) -> None:
    given = _options(arguments)
    what = given.what or list(PARTS)
    needs_cellpose = set(what) - {"scaling", "rasterise", "measure", "stitch"} or given.cellpose_side
    with tempfile.TemporaryDirectory(dir=given.scratch) as name:
        bench = Run(Path(name), cellpose3() if needs_cellpose else None, given)
        file = None if given.output is None else given.output.open("w", encoding="utf-8")
        _say([f"{describe_machine()}.", ""], file)
        for part in what:
            _say(PARTS[part](bench), file)


def _say(lines: list[str], file: TextIO | None) -> None:
    print("\n".join(lines), flush=True)
    if file is not None:
        print("\n".join(lines), file=file, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[*PARTS, []], default=[], help="all of them, where none is named")
    parser.add_argument("--repeats", type=int, default=3, help="medians of so many; not of scaling, which runs once")
    parser.add_argument("--whole-side", type=int, default=3138, help="height of the image of `whole`, in px")
    parser.add_argument("--flow-side", type=int, default=4096, help="of `postprocess`, in px")
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 4096, 8192, 16384], help="of `scaling`, in px")
    parser.add_argument("--cellpose-side", type=int, help="run Cellpose at this side of `scaling` too")
    parser.add_argument("--raster-side", type=int, default=10_000, help="of `rasterise`, in px")
    parser.add_argument("--measure-side", type=int, default=8960, help="of `measure`, in px")
    sides = [STITCH3D_LIMIT_PX, 10_000, STRTREE_LIMIT_PX, 80_000]
    parser.add_argument("--stitch-sides", type=int, nargs="+", default=sides, help="of `stitch`, in px")
    parser.add_argument("--stitch-cores", type=int, default=2, help="cores that each method of `stitch` may use")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real images")
    parser.add_argument("--output", type=Path, help="write the tables there too")
    parser.add_argument("--scratch", help="folder for images and results; the default is the system's")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
