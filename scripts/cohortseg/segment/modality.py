"""What kind of picture an image is, told from a few of its pixels: fluorescence, histology or grey."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cohortseg.segment.looks import ROUGH_EITHER, look
from cohortseg.settings import SegmentSettings
from cohortseg.settings.modality import ModalityName
from cohortseg.stores.channels import channel_groups
from cohortseg.stores.source import ImageSource

UNCERTAIN = 0.8
"""Below this confidence a guess deserves a look."""

_FLUORESCENT = re.compile(
    r"dapi|hoechst|draq|sytox|gfp|rfp|yfp|cfp|cherry|tomato|fitc|tritc|cy[2357]\b|alexa|af\d{3}|texas|propidium|"
    r"phalloidin|cellbound|cellmask|concanavalin|\bcd\d+|\b[34]\d\d ?nm|fluor|membrane|nucle(us|i)\b",
    re.IGNORECASE,
)
# Short names stand alone, or between the likes of "_" and "-".
_TRANSMITTED = re.compile(
    r"bright.?field|phase|transmi|nomarski|oblique|(?<![a-z0-9])(bf|ph\d?|dic|tl|td|trans)(?![a-z0-9])", re.IGNORECASE
)


@dataclass(frozen=True)
class Modality:
    """What kind of picture an image is taken for.

    Attributes
    ----------
    name
        `fluorescence`, `histology` or `grey`.
    origin
        `auto` if it was guessed, `given` if the settings say so.
    confidence
        Probability that a guess is right, 0 to 1; None for one that was given.
    features
        What a guess was made from; empty for one that was given.
    """

    name: ModalityName
    origin: Literal["auto", "given"]
    confidence: float | None
    features: dict[str, float]

    @property
    def uncertain(self) -> bool:
        """Whether the guess deserves a look."""
        return self.confidence is not None and self.confidence < UNCERTAIN


def choose_modality(source: ImageSource, settings: SegmentSettings) -> Modality:
    """Return the modality that the settings give, or with `auto` the one that the image looks like.

    Raises
    ------
    ChannelError
        If a channel that was asked for is not in the image.
    ImageError
        If the pixels looked at are damaged.
    """
    if settings.modality != "auto":
        return Modality(settings.modality, "given", None, {})
    return guess_modality(source, settings.channels)


def guess_modality(source: ImageSource, channels: Sequence[str | int] | None = None) -> Modality:
    """Return what an image looks like; the same for the same pixels, however large the image.

    A picture is told by its looks: light objects on dark ground are fluorescence, be they coloured or not; stains on
    light ground are histology; all else is grey. So an inverted picture of fluorescence is grey.

    Parameters
    ----------
    channels
        Those to be segmented; None for the first. Of a colour picture all three are looked at.

    Raises
    ------
    ChannelError
        If a channel is not in the image.
    ImageError
        If the pixels looked at are damaged.
    """
    chosen = list(range(3)) if source.is_rgb else list(channel_groups(source, channels or (0,))[0].channels[:1])
    features = look(source, chosen)
    names = [] if source.is_rgb else [source.channels[index] for index in chosen]
    features["name"] = float(sum(map(_spoken, names)))
    features["deep"] = float(not source.is_rgb and source.dtype.itemsize > 1)
    features["more_channels"] = float(not source.is_rgb and len(source.channels) > 1)
    return _decide(features)


def _spoken(name: str) -> int:
    """Return 1 for a channel named after a fluorescent stain, -1 after transmitted light, else 0."""
    return int(bool(_FLUORESCENT.search(name))) - int(bool(_TRANSMITTED.search(name)))


def _decide(features: dict[str, float]) -> Modality:
    """Weigh the features: two sums of evidence, as logits; round weights, see config/README.md for how they do."""
    f = features
    # Of a picture without contrast the shape of the histogram is that of its noise.
    shaped = min(1.0, f["spread"] / 0.08)
    coloured = min(1.0, f["stain"] / 0.3) * min(1.0, f["colour"] / 0.1)
    # Noise has a level and a histogram, too, which say little.
    seen = min(1.0, f["structure"] / 0.2)
    dark = seen * (
        _within(12 * (0.25 - f["level"]), -2.5 if f["deep"] else -4, 3)
        + shaped * _within(6 * (0.3 - f["middle"]), -2, 2)
        + shaped * 0.6 * f["skew"]
        + shaped * _within(30 * (f["dark_share"] - 0.05), -1.5, 5)
        + _within(15 * (f["rough_light"] - ROUGH_EITHER), 0, 4)
        + _within(4 * f["rough_light"], -2, 0)
        + 3 * coloured * f["colour_of_light"]
        + 1.5 * f["deep"]
    )
    dark += 1.5 * f["more_channels"] + 5 * f["name"]
    stained = 14 * (f["stain"] - 0.25) + _within(10 * (f["colour"] - 0.2), -2, 2)
    p_dark, p_stained = _logistic(dark), _logistic(stained)
    shares: dict[ModalityName, float] = {
        "fluorescence": p_dark,
        "histology": (1 - p_dark) * p_stained,
        "grey": (1 - p_dark) * (1 - p_stained),
    }
    name = max(shares, key=shares.__getitem__)
    return Modality(name, "auto", round(shares[name], 4), {key: round(value, 4) for key, value in f.items()})


def _within(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
