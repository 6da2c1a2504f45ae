"""How many parts an image is cut into where its size decides.

Every job plans anew; so that ten thousand headers are not read ten thousand times, sizes are kept beside what Snakemake
keeps, and a job takes those that the main process found.
"""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError
from cohortseg.settings import Sample, SegmentSettings
from cohortseg.settings.fields import AUTO, is_url
from cohortseg.steps.batch_jobs import stamp_of
from cohortseg.stores.atomic import atomic_path

KEPT = Path(".snakemake", "cohortseg", "pixels.json")
_READERS = 8


def with_parts(samples: Sequence[Sample], part_mpx: int, *, trusting: bool) -> list[Sample]:
    """Return the samples, `scatter: auto` replaced by the number of parts of at most `part_mpx` million pixels.

    An image that cannot be opened is one part, whose job says why.

    Parameters
    ----------
    trusting
        Take sizes that are kept without looking at the files.
    """
    sized = [sample for sample in samples if sample.scatter == AUTO]
    if not sized:
        return list(samples)
    kept = _read_kept()
    with ThreadPoolExecutor(_READERS) as pool:
        found = dict(pool.map(lambda sample: _entry(sample, kept, trusting), sized))
    if any(kept.get(key) != entry for key, entry in found.items()):
        with atomic_path(KEPT) as temporary:
            temporary.write_text(json.dumps({**kept, **found}), encoding="utf-8")
    most_px = part_mpx * 1_000_000
    return [
        replace(sample, scatter=max(1, math.ceil(found[_key(sample)]["pixels"] / most_px)))
        if sample.scatter == AUTO
        else sample
        for sample in samples
    ]


def _key(sample: Sample) -> str:
    opened = sample.segment
    return json.dumps([sample.image, opened.image_type, opened.series, opened.level, opened.channel_last])


def _entry(sample: Sample, kept: Mapping[str, Any], trusting: bool) -> tuple[str, dict[str, Any]]:
    key = _key(sample)
    if trusting and key in kept:
        return key, kept[key]
    try:
        stamp = None if is_url(sample.image) else stamp_of(sample.image)
    except OSError:
        stamp = None
    # What could not be opened, or has no stamp, is looked at anew.
    if key in kept and stamp is not None and kept[key]["stamp"] == stamp and kept[key]["pixels"]:
        return key, kept[key]
    return key, {"stamp": stamp, "pixels": _count_pixels(sample.image, sample.segment)}


def _count_pixels(image: str, segment: SegmentSettings) -> int:
    """Return the pixels of one plane of an image, by its header; 0 for one that cannot be opened."""
    # Only cohorts that ask for it need the readers of images, which take a while to import.
    from cohortseg.stores.images import open_image
    from cohortseg.stores.location import RemoteLocation
    from cohortseg.stores.source import PageSelection

    try:
        with open_image(RemoteLocation(image) if is_url(image) else Path(image), PageSelection.of(segment)) as source:
            return math.prod(source.shape)
    except (CohortsegError, OSError):
        return 0


def _read_kept() -> dict[str, Any]:
    try:
        content = json.loads(KEPT.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = content.items() if isinstance(content, dict) else ()
    return {key: entry for key, entry in entries if isinstance(entry, dict) and set(entry) == {"stamp", "pixels"}}
