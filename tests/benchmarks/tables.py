"""Tables in Markdown."""

import statistics
from collections.abc import Mapping, Sequence


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def header(*names: str) -> list[str]:
    return [row(*names), row(*("---" for _ in names))]


def megapixels_per_s(side_px: int, seconds: float) -> str:
    return f"{side_px**2 / seconds / 1e6:.2f}"


def stages(seconds: Mapping[str, float]) -> str:
    """Return the seconds by stage, without those of less than a hundredth of the whole."""
    least_s = 0.01 * seconds["total"]
    return ", ".join(f"{name} {s:.1f}" for name, s in seconds.items() if s >= least_s and name != "total")
