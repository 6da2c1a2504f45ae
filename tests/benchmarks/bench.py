"""The benchmarks: whole processes, measured side by side in one run, as Markdown tables with ratios.

`make bench` runs them all. Against Cellpose 3.1.1.3, which cannot share our environment, they use one of its own: the
Python that COHORTSEG_CELLPOSE3 names, else .bench/cellpose3, made at the first run. Where that cannot be made, the
rows that need it are left out, and the table says so.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from made import base_field, noisy_flows, write_tiff
from processes import ROOT, Ran, describe_machine, infer, run

from cohortseg.evaluate import average_precision

HERE = Path(__file__).resolve().parent
SMALL = ROOT / "scripts" / "cohortseg" / "networks" / "models" / "nuclei-mini.pt"
DIAMETER_PX = 20.0


def cellpose3() -> Path | None:
    """Return the Python that has Cellpose 3.1.1.3, made where it is not there; None, said why, where it cannot be."""
    if given := os.environ.get("COHORTSEG_CELLPOSE3"):
        return Path(given)
    folder = ROOT / ".bench" / "cellpose3"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "torch==2.13.0", "cellpose==3.1.1.3"]
        if subprocess.run(list(map(str, pip)), check=False).returncode:
            print("Cellpose 3.1.1.3 could not be installed: rows that need it are left out.", file=sys.stderr)
            return None
        (folder / "ready").touch()
    return python


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def header(*names: str) -> list[str]:
    return [row(*names), row(*("---" for _ in names))]


def whole(folder: Path, python: Path | None, repeats: int) -> list[str]:
    """Segment an image of 3,138 x 2,509 px with the same 6.6 M-parameter network, by Cellpose and by us."""
    lines = ["## Whole segmentation, 3,138 × 2,509 px, the same network of 6.6 M parameters", ""]
    if python is None:
        return [*lines, "Not measured: no Cellpose 3.1.1.3.", ""]
    image, checkpoint = folder / "image.tif", folder / "wide.pth"
    tifffile.imwrite(image, base_field(3138, DIAMETER_PX)[0][:, :2509])
    run([python, HERE / "cellpose3.py", "checkpoint", SMALL, checkpoint])
    theirs, ours, mini = [], [], []
    for _ in range(repeats):
        found = folder / "cellpose.npy"
        theirs.append(run([python, HERE / "cellpose3.py", "eval", checkpoint, image, found, str(DIAMETER_PX)]))
        ours.append(infer(image, folder / "wide", "--model-path", checkpoint, "--diameter", str(DIAMETER_PX)))
        mini.append(infer(image, folder / "mini", "--diameter", str(DIAMETER_PX)))
    table = header("", "process, s", "without start-up, s", "ratio", "peak, GB", "cells")
    reference = median([ran.said["seconds"] for ran in theirs])
    for name, rans in (("Cellpose 3.1.1.3", theirs), ("cohortseg", ours), ("cohortseg, nuclei-mini", mini)):
        net_s = median([ran.said["seconds"] if rans is theirs else ran.said["seconds"]["total"] for ran in rans])
        cells = rans[0].said["cells"] if rans is theirs else rans[0].said["counts"]["cells"]
        wall_s, peak_gb = median([ran.wall_s for ran in rans]), max(ran.peak_bytes for ran in rans) / 2**30
        ratio = f"{reference / net_s:.1f} ×"
        table.append(row(name, f"{wall_s:.1f}", f"{net_s:.1f}", ratio, f"{peak_gb:.2f}", cells))
    agreement = _agreement(folder, np.load(folder / "cellpose.npy"))
    return [*lines, *table, "", f"cohortseg's cells against Cellpose's: {agreement}. {_stages(ours[0])}", ""]


def _agreement(folder: Path, reference: np.ndarray) -> str:
    import cohortseg
    from cohortseg.stores.polygons import read_polygons

    table = read_polygons(folder / "wide" / "polygons.parquet", columns=None, box=None)
    ap = average_precision(reference, cohortseg.rasterise(table, reference.shape), (0.5, 0.75, 0.9)).ap
    return ", ".join(f"AP@{at} {value:.3f}" for at, value in zip((0.5, 0.75, 0.9), ap, strict=True))


def _stages(ran: Ran) -> str:
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in ran.said["seconds"].items() if seconds >= 0.05)
    return f"Seconds by stage: {stages}."


def postprocess(folder: Path, python: Path | None, repeats: int, side_px: int = 4096) -> list[str]:
    """Turn flows into labels: `compute_masks` of Cellpose 3.1.1.3 and of the installed one, and `labels_from_flows`."""
    lines = [f"## Post-processing alone, noisy flows of {side_px:,}²", ""]
    flows = folder / "flows.npz"
    flow, logits = noisy_flows(side_px, DIAMETER_PX)
    np.savez(flows, flow=flow, logits=logits)
    return [*lines, *_postprocess_table(folder, flows, python, repeats), ""]


def real_flows(folder: Path, python: Path | None, repeats: int, images: Path) -> list[str]:
    """Do the same with the flows that the built-in network gives of real images, side by side in one field."""
    lines = ["## Post-processing alone, flows of real images", ""]
    pictures = sorted((images / "dsb2018" / "images").glob("*.png"))
    if not pictures:
        return [*lines, "Not measured: no real images.", ""]
    from real import field_of

    flows = folder / "real.npz"
    flow, logits, n_images = field_of(pictures)
    np.savez(flows, flow=flow, logits=logits)
    height, width = logits.shape
    lines += [f"{n_images} fluorescence images of dsb2018 in a field of {height:,} × {width:,} px.", ""]
    return [*lines, *_postprocess_table(folder, flows, python, repeats), ""]


def _postprocess_table(folder: Path, flows: Path, python: Path | None, repeats: int) -> list[str]:
    rans: dict[str, Ran] = {}
    script = HERE / "cellpose3.py"
    if python is not None:
        rans["compute_masks, Cellpose 3.1.1.3"] = run([python, script, "masks", flows, folder / "3.npy", "1"])
    rans["compute_masks, installed Cellpose"] = run([sys.executable, script, "masks", flows, folder / "4.npy", "1"])
    ours = run([sys.executable, HERE / "labels.py", flows, folder / "ours.npy", str(max(repeats, 3))])
    found = np.load(folder / "ours.npy")
    table = header("", "s", "ratio", "cells", "our AP@0.9 against it")
    ours_s = median(ours.said["seconds"])
    for (name, ran), file in zip(rans.items(), ("3.npy", "4.npy") if python else ("4.npy",), strict=True):
        ap = average_precision(np.load(folder / file), found, (0.9,)).ap[0]
        seconds = median(ran.said["seconds"])
        table.append(row(name, f"{seconds:.1f}", f"{seconds / ours_s:.1f} ×", ran.said["cells"], f"{ap:.4f}"))
    table.append(row("`labels_from_flows`", f"{ours_s:.2f}", "1", ours.said["cells"], ""))
    return table


def scaling(folder: Path, python: Path | None, sides_px: Sequence[int], cellpose_px: int | None) -> list[str]:
    """Segment ever larger images with the built-in network; memory and pixels a second should not change."""
    table = header("side, px", "process, s", "Mpx/s without start-up", "peak, GB", "cells", "seconds by stage")
    peaks = {}
    for side_px in sides_px:
        image = folder / f"{side_px}.tif"
        write_tiff(image, (side_px, side_px), DIAMETER_PX)
        ran = infer(image, folder / f"out{side_px}", "--diameter", str(DIAMETER_PX))
        peaks[side_px] = ran.peak_bytes
        speed = side_px**2 / ran.said["seconds"]["total"] / 1e6
        stages = ", ".join(f"{k} {v:.0f}" for k, v in ran.said["seconds"].items() if v >= 1)
        table.append(row(f"{side_px:,}", f"{ran.wall_s:.1f}", f"{speed:.2f}", f"{ran.peak_bytes / 2**30:.2f}",
                         ran.said["counts"]["cells"], stages))  # fmt: skip
        if side_px == cellpose_px and python is not None:
            table.append(_cellpose_memory(folder, python, image, ran))
        image.unlink()
    smallest = min(px for px in sides_px if px >= min(4000, max(sides_px)))
    ratio = peaks[max(sides_px)] / peaks[smallest]
    return [
        "## Scaling in the image's side, nuclei-mini on the CPU", "", *table, "",
        f"Peak memory at {max(sides_px):,} px is {ratio:.2f} × that at {smallest:,} px.", "",
    ]  # fmt: skip


def _cellpose_memory(folder: Path, python: Path, image: Path, ours: Ran) -> str:
    checkpoint = folder / "wide.pth"
    run([python, HERE / "cellpose3.py", "checkpoint", SMALL, checkpoint])
    ran = run([python, HERE / "cellpose3.py", "eval", checkpoint, image, folder / "big.npy", str(DIAMETER_PX)])
    note = f"peak {ran.peak_bytes / ours.peak_bytes:.1f} × ours"
    return row("Cellpose 3.1.1.3, 6.6 M", f"{ran.wall_s:.1f}", "", f"{ran.peak_bytes / 2**30:.2f}",
               ran.said["cells"], note)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["whole", "postprocess", "real", "scaling", []], default=[])
    parser.add_argument("--repeats", type=int, default=1, help="interleaved repeats of `whole`; medians are shown")
    parser.add_argument("--sides", type=int, nargs="+", default=[2048, 4096, 8192, 16384], help="of `scaling`, in px")
    parser.add_argument(
        "--cellpose-side", type=int, help="run Cellpose at this side of `scaling` too: hours beyond 8192"
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real images")
    given = parser.parse_args(arguments)
    what = given.what or ["whole", "postprocess", "real", "scaling"]
    python = cellpose3() if set(what) - {"scaling"} or given.cellpose_side else None
    print(f"{describe_machine()}.\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in what:
            made = {
                "whole": lambda: whole(folder, python, given.repeats),
                "postprocess": lambda: postprocess(folder, python, given.repeats),
                "real": lambda: real_flows(folder, python, given.repeats, given.data),
                "scaling": lambda: scaling(folder, python, given.sides, given.cellpose_side),
            }[part]()
            print("\n".join(made), flush=True)


if __name__ == "__main__":
    main()
