"""The batches of a cohort, as part of its plan."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cohortseg.errors import SettingsError
from cohortseg.settings import Sample
from cohortseg.steps.batch_jobs import Records, jobs_of, manifest_of
from cohortseg.tiling.batches import plan_batches


def plan_batches_of(samples: Sequence[Sample], plan: Mapping[str, Any], *, trusting: bool) -> dict[str, dict[str, Any]]:
    """Return the batches by name: `samples` and `stacks`, and `manifest`, the file that says that the batch is done.

    Images that are cut into parts are in none, nor are the planes of a stack, or cells and their nuclei, of which one
    is not.

    Raises
    ------
    SettingsError
        If an image of a batch is scaled by its cohort's intensities, or results of single jobs are a batch's with other
        settings, which Snakemake would take for true.
    """
    shared = [
        ([sample.sample for sample in group], max(sample.batch for sample in group))
        for group in _groups(samples)
        if all(sample.batch > 1 and sample.scatter == 1 for sample in group)
    ]
    batches = plan_batches(shared)
    _refuse_cohort_wide(plan, batches)
    if not trusting:
        _refuse_made_otherwise(plan, set(plan["samples"]).difference(*batches))
    stack_of = {sample.sample: sample.stack for sample in samples if sample.stack}
    plans = {}
    for number, names in enumerate(batches):
        name, stacks = f"{number:04d}", list(dict.fromkeys(stack_of[each] for each in names if each in stack_of))
        manifest = manifest_of(plan, name, names, stacks, trusting=trusting)
        plans[name] = {"samples": list(names), "stacks": stacks, "manifest": manifest}
    return plans


def _groups(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Return the samples that depend on each other together: planes of a stack, cells and their nuclei."""
    # A stack has a name that no sample has here.
    names = {sample.sample: f"stack {sample.stack}" if sample.stack else sample.sample for sample in samples}
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while name in leader:
            name = leader[name]
        return name

    for sample in samples:
        if sample.nuclei in names:
            cells, nuclei = find(names[sample.sample]), find(names[sample.nuclei])
            if cells != nuclei:
                leader[cells] = nuclei
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(find(names[sample.sample]), []).append(sample)
    return list(groups.values())


def _refuse_cohort_wide(plan: Mapping[str, Any], batches: Sequence[Sequence[str]]) -> None:
    policies = {name: plan["samples"][name]["segment"]["normalise"]["policy"] for names in batches for name in names}
    if "cohort" in policies.values():
        raise SettingsError(
            "batch is above 1 and normalise.policy is cohort",
            "each image of a batch is finished before the next is looked at, the cohort's intensities need them all",
            "Set batch: 1, or normalise.policy to image or fixed.",
        )


def _refuse_made_otherwise(plan: Mapping[str, Any], names: Collection[str]) -> None:
    """Refuse samples of single jobs that batches made with other settings, of which Snakemake knows nothing."""
    records = Records()
    jobs = [job for name in sorted(names) for job in jobs_of(plan, [name], [])]
    expected = {"results_version": plan["results_version"]}
    stale = dict.fromkeys(
        job.name
        for job in jobs
        if (known := records.of(job).get(job.label))
        and {key: known.get(key) for key in ("results_version", "decisive")}
        != json.loads(json.dumps({**expected, "decisive": job.decisive}))
    )
    if stale:
        some = ", ".join(list(stale)[:5]) + (", ..." if len(stale) > 5 else "")
        raise SettingsError(
            f"{len(stale)} samples were made in batches with other settings ({some})",
            "their jobs are single ones now, which cannot tell",
            f"Delete their folders in {plan['results']}, or set batch as it was.",
        )
