"""The command line, for one-off use without a workflow."""

import json
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cohortseg import __version__
from cohortseg.cli_check import check
from cohortseg.cli_evaluate import evaluate, flags
from cohortseg.cli_export import export
from cohortseg.cli_models import models_app
from cohortseg.cli_view import view
from cohortseg.errors import CohortsegError

# What a shell reports of a program that Ctrl-C ended.
_INTERRUPTED = 130

app = typer.Typer(
    help="Segments cells: images in, polygons, label masks and 3D cells out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models_app, name="models")
app.command()(evaluate)
app.command()(flags)
app.command()(view)
app.command()(export)
app.command()(check)


class Device(StrEnum):
    """Where a network runs."""

    auto = "auto"
    cuda = "cuda"
    cpu = "cpu"


class ImageType(StrEnum):
    """How an image is opened."""

    tiff = "tiff"
    zarr = "zarr"
    cv2 = "cv2"
    slide = "slide"
    czi = "czi"
    nd2 = "nd2"
    lif = "lif"


class LinkRule(StrEnum):
    """How links between planes are chosen."""

    best = "best"
    optimal = "optimal"


class _ToStandardError(logging.Handler):
    """Writes to what standard error is at the moment: a progress bar that is shown puts lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


class _InterruptedError(BaseException):
    """Ctrl-C; none of the classes that the command line framework turns into a message of its own."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise `_InterruptedError` on Ctrl-C, so that what is open is closed and half files are removed."""

    def interrupt(*_: object) -> None:
        raise _InterruptedError

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's error is printed without a traceback and ends with status 2."""
    # On a terminal a bar shows how far a run is; elsewhere lines do.
    level = logging.WARNING if sys.stderr.isatty() else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", handlers=[_ToStandardError()])
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    logging.getLogger("cohortseg").setLevel(level)
    try:
        with _interruptible():
            app(args=[argument for argument in given if argument != "--debug"], standalone_mode=True)
    except CohortsegError as error:
        if debug:
            raise
        print(f"cohortseg: {error}", file=sys.stderr)
        sys.exit(2)
    except _InterruptedError:
        print("cohortseg: interrupted; what was finished stays, what was not has left no file", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def print_at_once(line: str) -> None:
    """Print a line of a long run without waiting for more."""
    print(line, flush=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"cohortseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Segments cells: images in, polygons, label masks and 3D cells out."""


@app.command()
def infer(
    image_path: Annotated[str | None, typer.Option(help="One image, or its URL.")] = None,
    image_dir: Annotated[Path | None, typer.Option(help="A folder of images.")] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where results go. Default: {image_name}_{page}_{channels}_{model_type} for one image, "
            "{image_dir}_results for a folder."
        ),
    ] = None,
    model_type: Annotated[str | None, typer.Option(help="Network, by name. Default: nuclei-mini.")] = None,
    model_path: Annotated[Path | None, typer.Option(help="Checkpoint of cohortseg or of Cellpose 1 to 3.")] = None,
    size_model_path: Annotated[
        Path | None, typer.Option(help="Size model of Cellpose 1 to 3 that goes with the checkpoint.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Network pixels per image pixel, instead of a diameter.")] = None,
    diameter: Annotated[
        float | None, typer.Option(help="Typical diameter of a cell in image pixels. Default: estimated.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Names or 0-based indices in the network's order, comma-separated.")
    ] = None,
    channel_last: Annotated[
        bool | None, typer.Option("--channel-last", help="Unnamed axes end with the channels.")
    ] = None,
    image_type: Annotated[ImageType | None, typer.Option(help="How to open images. Default: by content.")] = None,
    page: Annotated[int | None, typer.Option(help="Plane of a file with several. Default: 0.")] = None,
    device: Annotated[Device | None, typer.Option(help="Where the network runs. Default: auto.")] = None,
    config_file: Annotated[Path | None, typer.Option(help="YAML file with pipeline: and postprocess:.")] = None,
) -> None:
    """Segment one image, or every image of a folder, into polygons.parquet and metadata.json."""
    from cohortseg.steps.infer import InferOptions, infer_images
    from cohortseg.stores.location import image_location

    given = {
        "model": model_type,
        "model_path": None if model_path is None else str(model_path),
        "size_model_path": None if size_model_path is None else str(size_model_path),
        "diameter": diameter,
        "channels": None if channels is None else [channel.strip() for channel in channels.split(",")],
        "channel_last": channel_last,
        "image_type": None if image_type is None else image_type.value,
        "plane": page,
        "device": None if device is None else device.value,
    }
    location = None if image_path is None else image_location(image_path)
    options = InferOptions(location, image_dir, output_dir, scale, config_file)
    for line in infer_images(options, {key: value for key, value in given.items() if value is not None}):
        print_at_once(line)


@app.command()
def poly2mask(
    directory: Annotated[Path, typer.Argument(help="Folder with polygons.parquet, or with such folders.")],
    output_dir: Annotated[Path | None, typer.Option(help="Where mask.zarr goes. Default: beside the polygons.")] = None,
    tiff: Annotated[bool, typer.Option("--tiff", help="Also write mask.tif.")] = False,
    boundaries: Annotated[
        bool, typer.Option("--boundaries", help="Also write boundaries.zarr: only the outermost pixels of each cell.")
    ] = False,
    zarr_format: Annotated[int | None, typer.Option(help="Version of zarr, 2 or 3. Default: 3.")] = None,
) -> None:
    """Draw polygons.parquet as a label pyramid, mask.zarr."""
    from cohortseg.steps.poly2mask import masks_of_folder

    given = {"tiff": tiff, "boundaries": boundaries, "zarr_format": zarr_format}
    for path in masks_of_folder(directory, output_dir, {k: v for k, v in given.items() if v is not None}):
        print_at_once(str(path))


@app.command()
def mask2poly(
    masks: Annotated[
        list[Path], typer.Argument(help="Label images: TIFF, PNG, NPY or OME-Zarr labels.", metavar="MASK...")
    ],
    output: Annotated[Path, typer.Option(help="Where a folder with polygons.parquet goes for each mask.")],
    plane: Annotated[int | None, typer.Option(min=0, help="Plane of files with several.")] = None,
    as_stack: Annotated[
        bool, typer.Option("--as-stack", help="The masks are the planes of a stack, in the order given.")
    ] = False,
) -> None:
    """Trace label images into polygons.parquet, which poly2mask and stitch take; labels keep their numbers."""
    from cohortseg.steps.mask2poly import polygons_of_masks

    for traced in polygons_of_masks(masks, output, plane=plane, as_stack=as_stack):
        parts = f", {traced.n_in_parts} of them in several parts" if traced.n_in_parts else ""
        print_at_once(f"{traced.folder}: {traced.n_cells} cells{parts}")


@app.command()
def stitch(
    directory: Annotated[Path, typer.Argument(help="Folder with configs.yml and a folder for each plane.")],
    output_dir: Annotated[Path | None, typer.Option(help="Where results go. Default: the folder itself.")] = None,
    iou_threshold: Annotated[
        float | None, typer.Option(help="Smallest overlap that links two cells. Default: 0.5.")
    ] = None,
    num_process: Annotated[
        int | None, typer.Option(help="Most workers; 0 stays in the main process. Default: 8.")
    ] = None,
    rule: Annotated[LinkRule | None, typer.Option(help="How links are chosen. Default: best.")] = None,
    max_gap: Annotated[int | None, typer.Option(help="Planes that a cell may be missing from. Default: 0.")] = None,
    min_planes: Annotated[int | None, typer.Option(help="3D cells in fewer planes are dropped. Default: 1.")] = None,
    z_step_um: Annotated[
        float | None, typer.Option(help="Distance between planes, in µm. Default: what the images say.")
    ] = None,
    override_z_step: Annotated[
        bool | None, typer.Option("--override-z-step", help="--z-step-um holds, whatever the images say.")
    ] = None,
) -> None:
    """Link the cells of a stack's planes into 3D cells."""
    from cohortseg.steps.stitch import stitch_folder

    given = {
        "iou_threshold": iou_threshold,
        "num_process": num_process,
        "rule": None if rule is None else rule.value,
        "max_gap": max_gap,
        "min_planes": min_planes,
        "z_step_um": z_step_um,
        "override_z_step": override_z_step,
    }
    objects, output = stitch_folder(directory, output_dir, {k: v for k, v in given.items() if v is not None})
    print(f"{len(objects)} objects, {int((objects['n_planes'] > 1).sum())} of them over several planes, in {output}")


@app.command()
def convert(
    image: Annotated[str, typer.Argument(help="Image of any format that can be segmented, or its URL.")],
    output: Annotated[Path, typer.Option(help="Folder to write, NAME.ome.zarr.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an OME-Zarr that is there already.")] = False,
    image_type: Annotated[ImageType | None, typer.Option(help="How to open the image. Default: by content.")] = None,
    series: Annotated[int | None, typer.Option(help="Image of a file that holds several. Default: 0.")] = None,
    channel_last: Annotated[
        bool | None, typer.Option("--channel-last", help="Unnamed axes end with the channels.")
    ] = None,
    z_step_um: Annotated[
        float | None, typer.Option(help="Distance between planes, in µm. Default: what the image says.")
    ] = None,
    override_z_step: Annotated[
        bool | None, typer.Option("--override-z-step", help="--z-step-um holds, whatever the image says.")
    ] = None,
    chunk_px: Annotated[int | None, typer.Option(help="Side of a chunk. Default: 1024.")] = None,
    shard_px: Annotated[int | None, typer.Option(help="Side of a shard, one file on disk. Default: 4096.")] = None,
    workers: Annotated[int | None, typer.Option(help="Workers that read and write. Default: 4.")] = None,
) -> None:
    """Copy all channels and planes of an image to OME-Zarr 0.5 with a pyramid, in bounded memory."""
    from cohortseg.settings import ConvertSettings, SegmentSettings, load_block
    from cohortseg.steps.convert import convert_image
    from cohortseg.stores.location import image_location

    opening = {
        "image_type": None if image_type is None else image_type.value,
        "series": series,
        "channel_last": channel_last,
    }
    layout = {
        "z_step_um": z_step_um,
        "override_z_step": override_z_step,
        "chunk_px": chunk_px,
        "shard_px": shard_px,
        "n_workers": workers,
    }
    selected = load_block(SegmentSettings, {key: value for key, value in opening.items() if value is not None})
    settings = load_block(ConvertSettings, {key: value for key, value in layout.items() if value is not None})
    print(convert_image(image_location(image), output, selected, settings, overwrite=overwrite))


@app.command()
def demo(directory: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Draw a small cohort with known truth: images, labels, sample sheet and config."""
    from cohortseg.steps.demo import make_demo

    for path in make_demo(directory):
        print(path)


@app.command()
def train(
    sheet: Annotated[Path, typer.Argument(help="Table of labelled images: sample, image, labels, kind, split.")],
    output: Annotated[Path, typer.Option(help="Folder of the results: model.pt, model.json, loss.tsv, loss.png.")],
    config_file: Annotated[Path | None, typer.Option(help="YAML file with training settings.")] = None,
    device: Annotated[Device, typer.Option(help="Where the network is trained.")] = Device.auto,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU. Default: one a core.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run that was stopped left off.")] = False,
) -> None:
    """Train a network of one's own on the sheet's images of split train."""
    from cohortseg.steps.fit import TrainOptions, train_network
    from cohortseg.steps.training import read_train_settings

    settings = read_train_settings(config_file)
    options = TrainOptions(sheet, output, settings, device.value, threads, "resume" if resume else "refuse")
    print(train_network(options, print_at_once))


@app.command()
def card(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint that `cohortseg train` made, its record beside it.")],
    sheet: Annotated[Path, typer.Argument(help="The training sheet; its images of split test are segmented.")],
    output: Annotated[Path, typer.Option(help="Model card; tables in an existing one are replaced.")],
    device: Annotated[Device, typer.Option(help="Where the network runs.")] = Device.auto,
) -> None:
    """Write a network's model card: what it is, how it was trained, how well it segments the test images."""
    from cohortseg.steps.card import write_card

    write_card(checkpoint, sheet, output, device.value, print_at_once)
    print(output)


@app.command()
def dsb2018(
    folder: Annotated[Path, typer.Argument(help="Folder with manifest.csv, images and labels.")],
    sheet: Annotated[Path, typer.Argument(help="Training sheet to write.")],
) -> None:
    """Write the training sheet of the Data Science Bowl 2018 images, which nuclei-mini was trained with."""
    from cohortseg.steps.dsb2018 import write_dsb2018_sheet

    print(f"{sheet}: {write_dsb2018_sheet(folder, sheet)} images")


@app.command(hidden=True)
def report() -> None:
    """Write the cohort's report of what there is; the plan of the workflow comes on standard input."""
    from cohortseg.steps.report import write_report

    plan: dict[str, Any] = json.load(sys.stdin)
    cohort = Path(plan["results"]) / "cohort"
    write_report(
        plan,
        summary=cohort / "summary.tsv",
        cells=cohort / "cells.parquet",
        report=cohort / "report.html",
    )
