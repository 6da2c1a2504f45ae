"""What failed, those with the same remedy together."""

from collections.abc import Mapping
from typing import Any

from cohortseg.report.results import ReportData


def grouped_failures(data: ReportData) -> list[dict[str, Any]]:
    """Return the failures with the same rule, error and remedy together, the most frequent first.

    Each has `rule`, `error`, `remedy` and `samples`, as `describe_failure` gives them with their `name`.
    """
    failed: list[tuple[str, Mapping[str, Any]]] = [
        (sample.sample, sample.failure or {}) for sample in data.samples if sample.status == "failed"
    ]
    failed += [(f"stack {stack.stack}", stack.failure) for stack in data.stacks if stack.failure is not None]
    failed += data.failed_exports
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for name, failure in failed:
        said = describe_failure(failure)
        key = said["rule"], said["error"], said["remedy"]
        groups.setdefault(key, []).append({"name": name, **said})
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        {"rule": rule, "error": error, "remedy": remedy, "samples": samples}
        for (rule, error, remedy), samples in ordered
    ]


def describe_failure(failure: Mapping[str, Any]) -> dict[str, str]:
    """Return a failure's rule, error, remedy, what was found, what was expected and its log, empty if unknown."""
    found = failure.get("found") or failure.get("message") or "No message was left; the log may say more."
    told = {part: str(failure.get(part) or "") for part in ("rule", "error", "remedy", "expected", "log")}
    return {**told, "found": str(found)}
