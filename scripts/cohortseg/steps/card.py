"""`cohortseg card`: what a network is, how it was trained and how well it segments images that it never saw."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg import __version__
from cohortseg.errors import TableError
from cohortseg.evaluate import THRESHOLDS
from cohortseg.evaluate.counts import Counts
from cohortseg.evaluate.tables import Scored
from cohortseg.networks import Checkpoint, Network, load_checkpoint
from cohortseg.networks.models import find_checkpoint
from cohortseg.settings import SegmentSettings
from cohortseg.settings.schema import between_markers
from cohortseg.settings.training_sheet import TrainingSample
from cohortseg.steps.examples import true_diameter_px
from cohortseg.steps.score import Judge
from cohortseg.steps.training import samples_of_split
from cohortseg.stores.tables import read_json, write_bytes

_SHOWN = (0.5, 0.75, 0.9)
_TABLES = ("network", "training", "scores")
_ALL = "all"


def write_card(checkpoint: Path, sheet: Path, output: Path, device: str, say: Callable[[str], None]) -> None:
    """Segment the test images with a network and write its model card, Markdown.

    Where the card is there, the tables between `<!-- table: network -->` (`training`, `scores`) and
    `<!-- end -->` are replaced and all other words stay; else one with these tables alone is made.

    Parameters
    ----------
    checkpoint
        With its record beside it, the file of the same name that ends in .json.
    sheet
        Training sheet; its rows of split `test` are segmented twice, as the workflow does: with the diameter estimated,
        and with the true median diameter given.

    Raises
    ------
    TableError
        If the record belongs to another checkpoint, or the card lacks the place of a table.
    CohortsegError
        If the sheet, an image, the checkpoint or the device is not as it must be.
    """
    samples = samples_of_split(sheet, "test")
    loaded, record = load_checkpoint(checkpoint), _read_record(checkpoint)
    card = output.read_text(encoding="utf-8") if output.is_file() else _blank(checkpoint.stem)
    missing = [name for name in _TABLES if f"<!-- table: {name} -->" not in card]
    if missing:
        raise TableError(
            f"{output.name} has no line <!-- table: {missing[0]} -->",
            "a place for each table was expected",
            "Add it, and a line <!-- end --> after it.",
        )
    judge = _judge(checkpoint, record, device)
    scores = _describe_scores(_score_twice(judge, samples, say), judge.network)
    tables = (_describe_network(loaded, checkpoint), _describe_training(record), scores)
    for name, table in zip(_TABLES, tables, strict=True):
        card = between_markers(card, name, table)
    write_bytes(output, card.encode())


def _read_record(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint.with_suffix(".json")
    record = read_json(path)
    if record.get("sha256") != load_checkpoint(checkpoint).sha256:
        raise TableError(
            f"{path.name} is the record of another checkpoint than {checkpoint.name}",
            "the record that was written with it was expected",
            "Copy both files of the training together.",
        )
    return record


def _judge(checkpoint: Path, record: Mapping[str, Any], device: str) -> Judge:
    """Return what segments as a user does who gives no settings; of one's own network, by the kinds it was taught."""
    built_in = find_checkpoint(SegmentSettings())
    if checkpoint.is_file() and built_in.samefile(checkpoint):
        settings = SegmentSettings.model_validate({"device": device})
        return Judge(checkpoint.stem, Network.of(settings), settings, None)
    settings = SegmentSettings.model_validate(
        {"model": checkpoint.stem, "model_path": str(checkpoint), "device": device, "modality": "fluorescence"}
    )
    return Judge(checkpoint.stem, Network.of(settings), settings, record["settings"].get("inverted_kinds", ()))


def _score_twice(
    judge: Judge, samples: Sequence[TrainingSample], say: Callable[[str], None]
) -> dict[str, list[Scored]]:
    """Return the scores with the diameter estimated, and with the true median diameter given."""
    scores: dict[str, list[Scored]] = {"estimated": [], "given": []}
    for number, sample in enumerate(samples, start=1):
        truth_px = true_diameter_px(sample)
        scores["estimated"].append(judge.score(sample, None))
        scores["given"].append(judge.score(sample, truth_px))
        estimated, given = (found[-1].counts.scores()["ap"][0] for found in scores.values())
        line = f"{number} of {len(samples)}: {sample.sample}, {sample.kind}, AP@0.5 {estimated:.3f}"
        say(f"{line}, with the diameter given {given:.3f}")
    return scores


def _blank(name: str) -> str:
    parts = (f"## {table.capitalize()}\n\n<!-- table: {table} -->\n<!-- end -->\n" for table in _TABLES)
    return "\n".join([f"# {name}\n", *parts])


def _rows(facts: Mapping[str, object]) -> str:
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in facts.items())


def _describe_network(loaded: Checkpoint, checkpoint: Path) -> str:
    network = loaded.network
    style = "with" if network.styled else "without"
    return _rows(
        {
            "architecture": f"residual U-Net of Cellpose 1 to 3 (Stringer et al. 2021), {style} style vector",
            "channels of the input and of each level": ", ".join(map(str, network.widths)),
            "outputs": "flow y, flow x (five times a unit step), cell probability (before the sigmoid)",
            "parameters": f"{loaded.n_parameters:,}",
            "file": f"`{checkpoint.name}`, {checkpoint.stat().st_size / 1e6:.1f} MB",
            "cell diameter it was trained at": f"{loaded.diameter_px:g} px",
            "sha256": f"`{loaded.sha256}`",
        }
    )


def _describe_training(record: Mapping[str, Any]) -> str:
    images = ", ".join(f"{number} {kind}" for kind, number in record["images"].items())
    crops, side = record["settings"]["batch_size"], record["settings"]["crop_px"]
    left_out = f", {record['cells_left_out']:,} more left out as faulty" if record.get("cells_left_out") else ""
    facts = {
        "images": f"{sum(record['images'].values())} ({images}), {record['cells']:,} cells{left_out}",
        "steps": f"{record['step']:,} of {crops} crops of {side} x {side} px",
        "loss at the end": f"{record['loss']:.4f}",
        "time": f"{record['seconds_s'] / 60:.0f} min on {record['hardware']}",
        "versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
    }
    if (start := record.get("started_from_sha256")) is not None:
        facts = {"begun with": f"`{record['settings']['start_from']}`, sha256 `{start}`"} | facts
    settings = {f"`{key}`": f"`{value}`" for key, value in record["settings"].items()}
    return _rows(facts | settings)


def _describe_scores(scores: Mapping[str, Sequence[Scored]], network: Network) -> str:
    head = [*(f"AP@{threshold:g}" for threshold in _SHOWN), "F1@0.5", "F1@0.5, challenge", "Dice"]
    lines = [
        f"| kind | images | cells | diameter | {' | '.join(head)} |",
        "|---|---|---|---" + "|---" * len(head) + "|",
    ]
    for kind in [*sorted({score.modality for score in scores["given"]}), _ALL]:
        for origin, found in scores.items():
            chosen = [score.counts for score in found if kind in (score.modality, _ALL)]
            numbers = " | ".join(f"{value:.3f}" for value in np.mean([_shown(counts) for counts in chosen], axis=0))
            cells = sum(counts.n_true for counts in chosen)
            lines.append(f"| {kind} | {len(chosen)} | {cells:,} | {origin} | {numbers} |")
    how = f"Means over images, segmented with the default settings of cohortseg {__version__} on {network.device_name}."
    return "\n".join([how, "", *lines, ""])


def _shown(counts: Counts) -> list[float]:
    scores = counts.scores()
    ap = dict(zip(THRESHOLDS, scores["ap"], strict=True))
    return [*(ap[threshold] for threshold in _SHOWN), scores["f1"][0], scores["f1_neurips"], scores["dice"]]
