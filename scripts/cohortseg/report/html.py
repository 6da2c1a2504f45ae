"""The report as one self-contained HTML page: nothing in it is fetched from anywhere."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cohortseg.evaluate.tables import Scored, summarise_scores
from cohortseg.report.benchmarks import benchmarks_svg, summarise_benchmarks
from cohortseg.report.curves import curves_svg
from cohortseg.report.figures import diameter_histogram, ranked_dots
from cohortseg.report.findings import RULES, Finding, find_problems
from cohortseg.report.links import iou_histogram, odd_planes, starts_and_ends
from cohortseg.report.pictures import BUDGET_BYTES, Embedded, embed
from cohortseg.report.results import ReportData, SampleResult, StackResult
from cohortseg.report.scores import EXPLANATION, SCORE_HEADS, score_rows
from cohortseg.report.summary import summarise

_UNKNOWN = "–"
_MULTIPLES_SIDE_PX = 1400
_MULTIPLES_SHARE = 4


def render_report(data: ReportData) -> str:
    """Return the report of a cohort as HTML.

    Failures come first, those with the same remedy together; then samples that look wrong, the worst first; then the
    distributions, the table of all samples, ground truth, stacks, the other pictures, settings and versions. Pictures
    take at most `pictures.BUDGET_BYTES` together. All text is escaped, and the page's own content policy forbids it to
    load anything. The same data give the same bytes.
    """
    environment = Environment(
        loader=PackageLoader("cohortseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "share": _share, "duration": _duration, "gigabytes": _gigabytes}
    script = environment.get_template("report.js").render()
    return environment.get_template("report.html.j2").render(
        **_context(data),
        style=Markup(environment.get_template("report.css").render()),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _context(data: ReportData) -> dict[str, Any]:
    """Return what the template shows."""
    summary = summarise(data.samples)
    problems = find_problems(summary)
    worst_first = sorted(range(len(summary)), key=lambda row: -max((f.weight for f in problems[row]), default=0))
    flagged = [row for row in worst_first if problems[row]]
    calm = [row for row, sample in enumerate(data.samples) if sample.status == "ok" and not problems[row]]
    unfinished = [
        row for status in ("failed", "missing") for row in range(len(summary)) if summary["status"].iat[row] == status
    ]
    n_stacks = len(data.stacks)
    shown = [*flagged, *calm]
    multiples = embed(
        [stack.through_z_png for stack in data.stacks],
        budget_bytes=BUDGET_BYTES // _MULTIPLES_SHARE,
        side_px=_MULTIPLES_SIDE_PX,
    )
    pictures = embed(
        [*(stack.preview_png for stack in data.stacks), *(data.samples[row].preview_png for row in shown)],
        budget_bytes=BUDGET_BYTES - sum(len(picture.uri or "") for picture in multiples),
    )
    views = {
        row: _sample_view(row, data.samples[row], summary.iloc[row], problems[row], picture)
        for row, picture in zip(shown, pictures[n_stacks:], strict=True)
    }
    nothing = Embedded(None, "")
    ranked = [
        *(_sample_view(row, data.samples[row], summary.iloc[row], problems[row], nothing) for row in unfinished),
        *(views[row] for row in shown if data.samples[row].status == "ok"),
    ]
    return {
        "title": data.title,
        "tally": _tally(data, summary, flagged),
        "failures": _grouped_failures(data),
        "missing": [sample.sample for sample in data.samples if sample.status == "missing"],
        "flagged": [views[row] for row in flagged],
        "calm": [views[row] for row in calm],
        "rows": ranked,
        "figures": _figures(data, summary, problems),
        "evaluation": _evaluation_view(data),
        "stacks": [
            _stack_view(stack, picture, through_z)
            for stack, picture, through_z in zip(data.stacks, pictures[:n_stacks], multiples, strict=True)
        ],
        "benchmarks": _benchmarks_view(data),
        "rules": RULES,
        "settings": json.dumps(data.settings, indent=2, ensure_ascii=False, default=str),
        "versions": data.versions,
    }


def _tally(data: ReportData, summary: pd.DataFrame, flagged: list[int]) -> dict[str, Any]:
    """Return the counts at the head of the page."""
    status = summary["status"].value_counts()
    return {
        "samples": len(data.samples),
        "ok": int(status.get("ok", 0)),
        "failed": int(status.get("failed", 0)),
        "missing": int(status.get("missing", 0)),
        "flagged": len(flagged),
        "cells": int(summary["n_cells"].sum()),
        "stacks": len(data.stacks),
        "objects": sum(len(stack.objects) for stack in data.stacks if stack.objects is not None),
        "seconds": float(summary["seconds"].sum()),
    }


def _sample_view(
    row: int, sample: SampleResult, summary: pd.Series, problems: tuple[Finding, ...], picture: Embedded
) -> dict[str, Any]:
    """Return what the template shows of one sample."""
    return {
        "anchor": f"sample-{row}",
        "order": row,
        "folder": f"../{quote(sample.sample)}",
        "problems": [finding.text for finding in problems],
        "picture": picture,
        **{str(name): None if pd.isna(value) else value for name, value in summary.items() if name != "warnings"},
    }


def _stack_view(stack: StackResult, picture: Embedded, through_z: Embedded) -> dict[str, Any]:
    """Return what the template shows of one stack."""
    view: dict[str, Any] = {"stack": stack.stack, "picture": picture, "through_z": through_z, "objects": None}
    if stack.objects is None or stack.links is None:
        return view
    objects = stack.objects
    planes, counts = np.unique(objects["n_planes"].to_numpy(int), return_counts=True)
    number = len(objects)
    return view | {
        "objects": number,
        "histogram": [(int(p), int(c), 100 * c / counts.max()) for p, c in zip(planes, counts, strict=True)],
        "single_plane_share": float(np.mean(objects["n_planes"] == 1)) if number else None,
        "median_volume_px": _median(objects["volume_px"]),
        "median_volume_um3": _median(objects["volume_um3"]),
        "mean_iou": _mean(objects["mean_iou"]),
        "gaps": int((objects["n_gaps"] > 0).sum()),
        "links": stack.links,
        "odd": odd_planes(stack.links),
        "figures": [
            {"title": "IoU of links", "svg": Markup(iou_histogram(stack.links, name=stack.stack))},
            {"title": "Where objects begin and end", "svg": Markup(starts_and_ends(stack.links, name=stack.stack))},
        ],
    }


def _grouped_failures(data: ReportData) -> list[dict[str, Any]]:
    """Return the failures with the same rule, error and remedy together, the most frequent first."""
    failed: list[tuple[str, Mapping[str, Any]]] = [
        (sample.sample, sample.failure or {}) for sample in data.samples if sample.status == "failed"
    ]
    failed += [(f"stack {stack.stack}", stack.failure) for stack in data.stacks if stack.failure is not None]
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for name, failure in failed:
        key = tuple(str(failure.get(part) or "") for part in ("rule", "error", "remedy"))
        groups.setdefault(key, []).append(_failure_view(name, failure))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        {"rule": rule, "error": error, "remedy": remedy, "samples": samples}
        for (rule, error, remedy), samples in ordered
    ]


def _failure_view(name: str, failure: Mapping[str, Any]) -> dict[str, str]:
    """Return one failure's name, what was found, what was expected and where its log is."""
    found = failure.get("found") or failure.get("message") or "No message was left; the log may say more."
    return {
        "name": name,
        "found": str(found),
        "expected": str(failure.get("expected") or ""),
        "log": str(failure.get("log") or ""),
    }


def _figures(data: ReportData, summary: pd.DataFrame, problems: list[tuple[Finding, ...]]) -> list[dict[str, Any]]:
    """Return the distributions, each with its title."""
    if not (summary["n_cells"].fillna(0) > 0).any():
        return []
    names = summary["sample"].tolist()
    flagged = np.array([bool(found) for found in problems])
    diameters: dict[str, list[Any]] = {}
    for sample in data.samples:
        if sample.cells is not None:
            area = sample.cells["area_px"].to_numpy(float)
            diameters.setdefault(sample.modality, []).append(2 * np.sqrt(area / np.pi))
    drawn = [
        ("Cells per megapixel", ranked_dots(summary["cells_per_mpx"], names, flagged, axis="cells / Mpx", log=True)),
        (
            "Median diameter",
            ranked_dots(summary["median_diameter_px"], names, flagged, axis="median diameter (px)", log=False),
        ),
        ("Mean score", ranked_dots(summary["mean_score"], names, flagged, axis="mean cell probability", log=False)),
        ("Diameters of all cells", diameter_histogram(diameters, axis="diameter (px)")),
    ]
    drifts = summary["intensity_drift"]
    if drifts.notna().sum() > 1:
        axis = "log2 of its range to the median"
        drawn.append(("Intensities beside the cohort's", ranked_dots(drifts, names, flagged, axis=axis, log=False)))
    return [{"title": title, "svg": Markup(svg)} for title, svg in drawn]


def _evaluation_view(data: ReportData) -> dict[str, Any] | None:
    """Return the scores by model and modality and their curves, or None without ground truth."""
    images = [
        Scored(
            sample.sample,
            sample.metadata["model"]["name"],
            sample.modality,
            sample.evaluation,
            sample.seconds,
            sample.area_mpx,
        )
        for sample in data.samples
        if sample.evaluation is not None
    ]
    if not images:
        return None
    summary = summarise_scores(images)
    return {
        "heads": SCORE_HEADS,
        "rows": score_rows(summary),
        "explanation": EXPLANATION,
        "curves": Markup(curves_svg(summary)),
    }


def _benchmarks_view(data: ReportData) -> dict[str, Any] | None:
    """Return what the jobs took by step and a figure, or None where that has not been gathered."""
    if data.benchmarks is None or data.benchmarks.empty:
        return None
    steps = summarise_benchmarks(data.benchmarks)
    rows = [
        {str(name): None if pd.isna(value) else value for name, value in row.items()} for _, row in steps.iterrows()
    ]
    return {"rows": rows, "figure": Markup(benchmarks_svg(data.benchmarks))}


def _median(values: pd.Series) -> float | None:
    """Return the median of what is known, None if nothing is."""
    known = values.dropna()
    return float(known.median()) if len(known) else None


def _mean(values: pd.Series) -> float | None:
    """Return the mean of what is known, None if nothing is."""
    known = values.dropna()
    return float(known.mean()) if len(known) else None


def _number(value: float | None, decimals: int) -> str:
    """Return a number with thin spaces between thousands."""
    return _UNKNOWN if value is None else f"{value:,.{decimals}f}".replace(",", "\u202f")


def _share(value: float | None) -> str:
    """Return a share as a percentage."""
    return _UNKNOWN if value is None else f"{100 * value:.0f}\u202f%"


def _duration(seconds: float | None) -> str:
    """Return seconds as a reader would say them."""
    if seconds is None:
        return _UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _gigabytes(n_bytes: float | None) -> str:
    """Return bytes as GB."""
    return _UNKNOWN if n_bytes is None else f"{n_bytes / 1e9:.2f} GB"
