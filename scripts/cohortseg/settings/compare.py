"""The models that `snakemake compare` sets side by side."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cohortseg.settings.fields import NAME_PATTERN, Channels, FrozenModel, WeightsPath, setting


class ComparedModel(FrozenModel):
    """One way to segment: what it gives replaces what the config and the sheet say, for every image with labels."""

    name: str = Field(pattern=NAME_PATTERN, description="Unique name; its results are in results/compare/<name>.")
    model: str | None = setting(None, "Network; null: that of the image.", min_length=1, max_length=200)
    model_path: WeightsPath | None = setting(None, "Checkpoint file of the model named here.", min_length=1)
    size_model_path: WeightsPath | None = setting(None, "Size model of the model named here.", min_length=1)
    diameter: float | None = setting(
        None, "Typical diameter of a cell in the image; null: that of the image.", unit="px", gt=0, le=100_000
    )
    channels: Channels | None = setting(
        None, "Names or 0-based indices in the network's order; null: those of the image."
    )

    @model_validator(mode="after")
    def _names_what_it_loads(self) -> Self:
        if self.model is None and (self.model_path or self.size_model_path):
            raise PydanticCustomError("model", "Input should be a model with a name where a path is given")
        return self

    def overrides(self) -> dict[str, Any]:
        """Return the settings of a segmentation that this replaces, as plain data."""
        given = {key: value for key, value in self.model_dump(mode="json").items() if value is not None}
        del given["name"]
        # the files of the config belong to the config's model, not to this one
        return {"model_path": None, "size_model_path": None, **given} if self.model else given


def _as_tuple(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("entries", "Input should be a list of entries")
    return tuple(value)


def _named_once(models: tuple[ComparedModel, ...]) -> tuple[ComparedModel, ...]:
    names = [model.name.lower() for model in models]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PydanticCustomError(
            "names",
            "Input should be entries of different names, upper and lower case being the same; repeated: {names}",
            {"names": ", ".join(repeated)},
        )
    return models


class CompareSettings(FrozenModel):
    """Models that `snakemake compare` sets side by side, on the samples with labels."""

    models: Annotated[tuple[ComparedModel, ...], BeforeValidator(_as_tuple), AfterValidator(_named_once)] = setting(
        (), "Entries with the keys name, model, model_path, size_model_path, diameter and channels."
    )
