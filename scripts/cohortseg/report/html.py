"""The report as one self-contained HTML page: nothing in it is fetched from anywhere."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cohortseg.evaluate.tables import Scored, summarise_scores
from cohortseg.report.benchmarks import benchmarks_svg, summarise_benchmarks
from cohortseg.report.curves import curves_svg
from cohortseg.report.details import HISTOGRAMS, describe_sample, pooled_histograms, usual_settings
from cohortseg.report.distributions import draw_distributions
from cohortseg.report.failures import describe_failure, grouped_failures
from cohortseg.report.findings import Finding, rules_in_words
from cohortseg.report.links import iou_histogram, odd_planes, starts_and_ends
from cohortseg.report.pictures import Embedded, embed, sizes_for, spent
from cohortseg.report.results import ReportData, SampleResult, StackResult
from cohortseg.report.scores import EXPLANATION, SCORE_HEADS, score_rows
from cohortseg.report.summary import summarise

_UNKNOWN = "–"
_STACK_SIDE_PX = 1400
_STACKS_SHARE = 4
_PREVIEWS_SHARE = 0.72
_LISTED = 24
_LISTED_WITHOUT_SCRIPT = 200
_SCRIPTS = ("plots.js", "details.js", "images.js")
_COLUMNS = (
    "status",
    "verdict",
    "modality",
    "n_cells",
    "cells_per_mpx",
    "median_diameter_px",
    "median_diameter_um",
    "mean_score",
    "edge_share",
    "ap50",
    "seconds",
    "peak_memory_bytes",
)
"""Of the summary, what the page's script lists and sorts by."""


def render_report(data: ReportData) -> str:
    """Return the report of a cohort as HTML.

    Failures come first, those with the same remedy together; then the images that look wrong, the worst first; the
    distributions; ground truth; stacks; then all images, which the page's script shows some at a time from data in the
    page, with pictures of at most `pictures.sizes_for` together; times, settings and versions. All text is escaped, and
    the page's own content policy forbids it to load anything. The same data give the same bytes.
    """
    environment = Environment(
        loader=PackageLoader("cohortseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "share": _share, "duration": _duration, "gigabytes": _gigabytes}
    script = '"use strict";\n' + "".join(environment.get_template(name).render() for name in _SCRIPTS)
    return environment.get_template("report.html.j2").render(
        **_context(data),
        style=Markup(environment.get_template("report.css").render()),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _context(data: ReportData) -> dict[str, Any]:
    """Return what the template shows."""
    summary, problems = summarise(data.samples, data.qc)
    order = _worst_first(summary, problems)
    rows = [_row(data.samples[i], summary.iloc[i], problems[i]) for i in order]
    flagged = [row for row in rows if row["verdict"] == "look"]
    sizes = sizes_for(len(data.samples))
    multiples, projections = _stack_pictures(data.stacks, sizes.budget_bytes // _STACKS_SHARE)
    left = sizes.budget_bytes - spent(multiples) - spent(projections)
    return {
        "title": data.title,
        "tally": _tally(data, summary),
        "failures": grouped_failures(data),
        "missing": [sample.sample for sample in data.samples if sample.status == "missing"],
        "flagged": flagged[:_LISTED],
        "n_flagged": len(flagged),
        "index": _as_json({"rows": rows, "pooled": pooled_histograms(data.samples), "histograms": HISTOGRAMS}),
        "details": _details([data.samples[i] for i in order], left, data),
        "listed": rows[:_LISTED_WITHOUT_SCRIPT],
        "figures": draw_distributions(data.samples, summary, problems),
        "evaluation": _evaluation_view(data),
        "stacks": [_stack_view(*parts) for parts in zip(data.stacks, projections, multiples, strict=True)],
        "benchmarks": _benchmarks_view(data),
        "rules": rules_in_words(data.qc),
        "settings": json.dumps(data.settings, indent=2, ensure_ascii=False, default=str),
        "versions": data.versions,
    }


def _worst_first(summary: pd.DataFrame, problems: Sequence[tuple[Finding, ...]]) -> list[int]:
    """Return the rows of the summary: the failed, the missing, those worth a look by their worst finding, the rest."""
    places = {"failed": 0, "missing": 1, "ok": 2}

    def key(row: int) -> tuple[int, float]:
        return places[str(summary["status"].iloc[row])], -max((finding.weight for finding in problems[row]), default=-1)

    return sorted(range(len(summary)), key=key)


def _row(sample: SampleResult, summary: pd.Series, problems: tuple[Finding, ...]) -> dict[str, Any]:
    """Return what lists show of a sample: its name, folder, `_COLUMNS`, its warnings and its failure in words."""
    return {
        "sample": sample.sample,
        "folder": f"../{quote(sample.sample)}/",
        "warnings": [finding.text for finding in problems],
        "failure": "" if sample.failure is None else describe_failure(sample.failure)["found"],
        **{name: _plain(summary[name]) for name in _COLUMNS},
    }


def _plain(value: Any) -> Any:
    """Return a cell of a table as JSON has it, numbers to six digits; None where it is not known."""
    if isinstance(value, str):
        return value
    return None if pd.isna(value) else float(f"{float(value):.6g}")


def _details(samples: Sequence[SampleResult], budget_bytes: int, data: ReportData) -> list[Markup]:
    """Return the details of samples with their pictures, as JSON, in the order given, in which pictures are kept."""
    sizes = sizes_for(len(samples))
    usual = usual_settings(data.samples)
    previews = embed(
        (sample.preview_png for sample in samples),
        budget_bytes=int(_PREVIEWS_SHARE * budget_bytes),
        height_px=sizes.preview_px,
        width_px=sizes.preview_px,
        fine=sizes.fine,
    )
    crops = embed(
        (sample.crops_png if _has_crops(sample) else None for sample in samples),
        budget_bytes=budget_bytes - spent(previews),
        height_px=sizes.crop_px,
        fine=sizes.fine,
    )
    return [
        _as_json({"preview": preview, "crops": crop, **describe_sample(sample, usual)})
        for sample, preview, crop in zip(samples, previews, crops, strict=True)
    ]


def _has_crops(sample: SampleResult) -> bool:
    return bool(sample.quality and sample.quality["crops"]["cells"])


def _as_json(value: Any) -> Markup:
    """Return JSON that can stand in an element `script`: no markup in it, numbers that are not finite as null."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _finite(value: Any) -> Any:
    """Return plain data with None for numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _tally(data: ReportData, summary: pd.DataFrame) -> dict[str, Any]:
    """Return the counts at the head of the page."""
    verdicts = summary["verdict"].value_counts()
    return {
        "samples": len(data.samples),
        "finished": int((summary["status"] == "ok").sum()),
        **{name: int(verdicts.get(name, 0)) for name in ("ok", "look", "failed", "missing")},
        "failed_exports": len(data.failed_exports),
        "cells": int(summary["n_cells"].sum()),
        "diameter": _median(summary["median_diameter_px"]),
        "diameter_um": _median(summary["median_diameter_um"]),
        "density": _median(summary["cells_per_mpx"]),
        "stacks": len(data.stacks),
        "objects": sum(stack.objects.number for stack in data.stacks if stack.objects is not None),
        "seconds": float(summary["seconds"].sum()),
    }


def _median(values: pd.Series) -> float | None:
    """Return the median of what is known, None if nothing is."""
    known = values.dropna()
    return float(known.median()) if len(known) else None


def _stack_pictures(stacks: Sequence[StackResult], budget_bytes: int) -> tuple[list[Embedded], list[Embedded]]:
    """Return the small multiples and the projections of stacks."""
    side = _STACK_SIDE_PX
    multiples = embed(
        (stack.through_z_png for stack in stacks), budget_bytes=budget_bytes // 2, height_px=side, width_px=side
    )
    projections = embed(
        (stack.projection_png for stack in stacks),
        budget_bytes=budget_bytes - spent(multiples),
        height_px=side,
        width_px=side,
    )
    return multiples, projections


def _stack_view(stack: StackResult, projection: Embedded, through_z: Embedded) -> dict[str, Any]:
    """Return what the template shows of one stack."""
    view: dict[str, Any] = {
        "stack": stack.stack,
        "folder": f"../stacks/{quote(stack.stack)}/",
        "projection": projection,
        "through_z": through_z,
        "objects": None,
    }
    if stack.objects is None or stack.links is None:
        return view
    objects = stack.objects
    most = max((count for _, count in objects.planes), default=0)
    return view | {
        "objects": objects.number,
        "histogram": [(planes, count, 100 * count / most) for planes, count in objects.planes],
        "single_plane_share": objects.single_plane_share,
        "median_volume_px": objects.median_volume_px,
        "median_volume_um3": objects.median_volume_um3,
        "mean_iou": objects.mean_iou,
        "gaps": objects.gaps,
        "links": stack.links,
        "odd": odd_planes(stack.links),
        "figures": [
            {"title": "IoU of links", "svg": Markup(iou_histogram(stack.links, name=stack.stack))},
            {"title": "Where objects begin and end", "svg": Markup(starts_and_ends(stack.links, name=stack.stack))},
        ],
    }


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
