"""How intensities are scaled before the network."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.fields import FrozenModel, as_tuple, setting

NormalisePolicy = Literal["image", "cohort", "fixed"]


class ChannelNormalise(FrozenModel):
    """What is different for one channel."""

    channel: str | int = Field(description="Name of the channel, in any case, or its 0-based index.")
    lower_percentile: float | None = setting(None, "In place of the general one.", unit="%", ge=0, le=100)
    upper_percentile: float | None = setting(None, "In place of the general one.", unit="%", ge=0, le=100)
    lower: float | None = setting(
        None, "Intensity that becomes 0, with policy fixed; with cohort, in place of the median."
    )
    upper: float | None = setting(
        None, "Intensity that becomes 1, with policy fixed; with cohort, in place of the median."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if (self.lower is None) != (self.upper is None):
            raise PydanticCustomError("bounds", "Input should have both lower and upper, or neither")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise PydanticCustomError("order", "Input should be lower < upper")
        return self

    def means(self, name: str, index: int | None) -> bool:
        """Tell whether this is the entry of an input with a name, which shows the channel of an index, or several."""
        text = str(self.channel)
        return text.casefold() == name.casefold() or (index is not None and text == str(index))


class NormaliseSettings(FrozenModel):
    """How intensities are scaled before the network: two intensities of each channel become 0 and 1."""

    policy: NormalisePolicy = setting(
        "image",
        "Where the two come from: image, its own percentiles; cohort, the medians of those of all its images; fixed, "
        "lower and upper of `channels`.",
    )
    foreground: bool = setting(
        False,
        "Take the percentile of the cells' side among pixels that are not ground, for slides that are mostly empty.",
    )
    lower_percentile: float = setting(
        1.0, "Percentile of each channel's intensities that becomes 0.", unit="%", ge=0, le=100
    )
    upper_percentile: float = setting(
        99.0, "Percentile of each channel's intensities that becomes 1.", unit="%", ge=0, le=100
    )
    channels: Annotated[tuple[ChannelNormalise, ...], BeforeValidator(as_tuple)] = setting(
        (), "Entries with the keys channel, lower_percentile, upper_percentile, lower and upper."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for lower, upper in [self.percentiles("", None), *(self._of(entry) for entry in self.channels)]:
            if lower >= upper:
                raise PydanticCustomError("order", "Input should be lower_percentile < upper_percentile")
        return self

    @model_validator(mode="after")
    def _fixed_has_values(self) -> Self:
        given = [entry for entry in self.channels if entry.lower is not None]
        if self.policy == "fixed" and (not given or len(given) < len(self.channels)):
            raise PydanticCustomError("fixed", "Input should have channels with lower and upper for policy fixed")
        if self.policy == "image" and given:
            raise PydanticCustomError(
                "fixed", "Input should be policy fixed or cohort where channels have lower and upper"
            )
        if self.policy == "fixed" and self.foreground:
            raise PydanticCustomError(
                "fixed", "Input should be foreground false with policy fixed, which measures nothing"
            )
        return self

    def entry(self, name: str, index: int | None) -> ChannelNormalise | None:
        """Return what is different for an input, by its name or the index of its channel; the first entry counts."""
        return next((entry for entry in self.channels if entry.means(name, index)), None)

    def percentiles(self, name: str, index: int | None) -> tuple[float, float]:
        """Return the lower and the upper percentile of an input."""
        entry = self.entry(name, index)
        return (self.lower_percentile, self.upper_percentile) if entry is None else self._of(entry)

    def _of(self, entry: ChannelNormalise) -> tuple[float, float]:
        lower, upper = entry.lower_percentile, entry.upper_percentile
        return (
            self.lower_percentile if lower is None else lower,
            self.upper_percentile if upper is None else upper,
        )
