"""Which two intensities become 0 and 1: those of the image, of its cohort, or given ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from cohortseg.errors import SettingsError
from cohortseg.segment.inputs import MEAN_OF_RGB, ChannelMix, Normalisation, measure_normalisation, only_channel
from cohortseg.settings import ChannelNormalise, SegmentSettings
from cohortseg.stores.channels import ChannelGroup
from cohortseg.stores.source import ImageSource

Kind = tuple[str, str, str]


@dataclass(frozen=True)
class Intensities:
    """The lower and upper percentile of one input of one image, on the scale of its pixels; of R, G and B their mean.

    Images of one `kind` are alike: they have the same modality, the same type of pixels, and an input of the same name
    (in any case).
    """

    modality: str
    dtype: str
    name: str
    lower: float
    upper: float

    @property
    def kind(self) -> Kind:
        """What alike images have in common."""
        return self.modality, self.dtype, self.name.casefold()


def measure_intensities(source: ImageSource, mix: ChannelMix, settings: SegmentSettings) -> tuple[Intensities, ...]:
    """Return the percentiles of each input of an image whose modality `settings` say."""
    found = _measured(source, mix, settings)
    return tuple(
        Intensities(settings.modality, str(source.dtype), group.name, lower / _scale(group), upper / _scale(group))
        for group, lower, upper in zip(mix.groups, found.lower, found.upper, strict=True)
    )


def cohort_medians(images: Sequence[Intensities]) -> dict[Kind, tuple[float, float]]:
    """Return for each kind of input the medians of lower and upper over the images.

    The median counts each image once, whatever its size, and a few images that went wrong do not move it.
    """
    kinds: dict[Kind, list[Intensities]] = {}
    for each in images:
        kinds.setdefault(each.kind, []).append(each)
    return {
        kind: (median(each.lower for each in alike), median(each.upper for each in alike))
        for kind, alike in kinds.items()
    }


def drift(image: Intensities, medians: Mapping[Kind, tuple[float, float]]) -> float:
    """Return how far an image is from its cohort: log2 of its range of intensities over the range of the medians.

    0 is as the cohort, 1 twice as wide, -1 half; NaN where either range is empty.
    """
    lower, upper = medians[image.kind]
    own, common = image.upper - image.lower, upper - lower
    return math.log2(own / common) if own > 0 and common > 0 else math.nan


def with_bounds(settings: SegmentSettings, bounds: Mapping[str, tuple[float, float]]) -> SegmentSettings:
    """Return the settings with the lower and upper intensity of each input, by its name, as the cohort has them.

    Those that the settings give themselves win.
    """
    given = tuple(entry for entry in settings.normalise.channels if entry.lower is not None)
    found = tuple(
        ChannelNormalise(channel=name, lower=lower, upper=upper)
        for name, (lower, upper) in bounds.items()
        if lower < upper
    )
    normalise = settings.normalise.model_copy(update={"channels": given + found})
    return settings.model_copy(update={"normalise": normalise})


def choose_normalisation(source: ImageSource, mix: ChannelMix, settings: SegmentSettings) -> Normalisation:
    """Return what becomes 0 and 1 in each input, as `normalise.policy` says; of an inverted image the other way round.

    Raises
    ------
    SettingsError
        If the policy is fixed or cohort, and there is nothing for an input; the cohort's come by `with_bounds`.
    """
    if settings.normalise.policy == "image":
        chosen = _measured(source, mix, settings)
    else:
        bounds = [_bounds(source, group, settings) for group in mix.groups]
        chosen = Normalisation(tuple(lower for lower, _ in bounds), tuple(upper for _, upper in bounds))
    return chosen.inverted() if settings.invert else chosen


def _measured(source: ImageSource, mix: ChannelMix, settings: SegmentSettings) -> Normalisation:
    n_workers = settings.pipeline.n_read_workers
    dark_cells = bool(settings.invert)
    return measure_normalisation(source, mix, settings.normalise, dark_cells=dark_cells, n_workers=n_workers)


def _scale(group: ChannelGroup) -> int:
    """Return how often the mean of R, G and B is in their sum, which it is worked out as."""
    return len(group.channels) if group == MEAN_OF_RGB else 1


def _bounds(source: ImageSource, group: ChannelGroup, settings: SegmentSettings) -> tuple[float, float]:
    normalise = settings.normalise
    entry = normalise.entry(group.name, only_channel(group))
    if entry is not None and entry.lower is not None and entry.upper is not None:
        return _scale(group) * entry.lower, _scale(group) * entry.upper
    known = ", ".join(str(each.channel) for each in normalise.channels if each.lower is not None) or "none"
    if normalise.policy == "fixed":
        raise SettingsError(
            f"normalise.policy is fixed, and nothing is given for {group.name!r} of {source.path.name}",
            f"normalise.channels has entries for: {known}",
            "Add an entry with lower and upper for each channel that is segmented.",
        )
    raise SettingsError(
        f"normalise.policy is cohort, and no intensities of a cohort are known for {group.name!r} of "
        f"{source.path.name}; known: {known}",
        "a cohort is measured before it is segmented; a channel without contrast in most images has none",
        "Run the workflow or `cohortseg infer --image-dir`, or set normalise.policy to image or fixed.",
    )
