"""The batches of a cohort, as part of its plan."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cohortseg.errors import SettingsError
from cohortseg.settings import Sample
from cohortseg.steps.batch_jobs import manifest_of
from cohortseg.tiling.batches import plan_batches


def plan_batches_of(
    samples: Sequence[Sample], plan: Mapping[str, Any], exists: Callable[[str], bool]
) -> dict[str, dict[str, Any]]:
    """Return the batches by name: `samples` and `stacks`, and `manifest`, the file that says that the batch is done.

    Images that are cut into parts are in none, nor are the planes of a stack of which one is not.

    Raises
    ------
    SettingsError
        If an image of a batch is scaled by its cohort's intensities.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        # A stack has a name that no sample has here.
        groups.setdefault(f"stack {sample.stack}" if sample.stack else sample.sample, []).append(sample)
    shared = [
        ([sample.sample for sample in group], max(sample.batch for sample in group))
        for group in groups.values()
        if all(sample.batch > 1 and sample.scatter == 1 for sample in group)
    ]
    batches = plan_batches(shared)
    _refuse_cohort_wide(plan, batches)
    stack_of = {sample.sample: sample.stack for sample in samples if sample.stack}
    plans = {}
    for number, names in enumerate(batches):
        name, stacks = f"{number:04d}", list(dict.fromkeys(stack_of[each] for each in names if each in stack_of))
        manifest = manifest_of(plan, name, names, stacks, exists)
        plans[name] = {"samples": list(names), "stacks": stacks, "manifest": manifest}
    return plans


def _refuse_cohort_wide(plan: Mapping[str, Any], batches: Sequence[Sequence[str]]) -> None:
    policies = {name: plan["samples"][name]["segment"]["normalise"]["policy"] for names in batches for name in names}
    if "cohort" in policies.values():
        raise SettingsError(
            "batch is above 1 and normalise.policy is cohort",
            "each image of a batch is finished before the next is looked at, the cohort's intensities need them all",
            "Set batch: 1, or normalise.policy to image or fixed.",
        )
