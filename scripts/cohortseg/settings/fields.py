"""Types and building blocks that the settings models share."""

import json
import os.path
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"
"""What a sample or a stack may be called: safe as a folder and a file name everywhere, never hidden."""

Device = Literal["auto", "cuda", "cpu"]
ImageType = Literal["tiff", "zarr", "cv2", "slide", "czi", "nd2", "lif"]
WeightsPath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A file of weights; `~` is the home folder."""


URL_SCHEMES = ("http", "https", "s3")
"""What the URL of an image may start with."""


def is_url(text: str) -> bool:
    """Tell a URL from a path, which may hold colons, too."""
    return text.partition("://")[0].lower() in URL_SCHEMES and "://" in text


_NUMERIC = (int, float, bool, int | None, float | None, bool | None)


class FrozenModel(BaseModel):
    """Base of all settings: immutable, hashable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _read_numbers(cls, data: Any) -> Any:
        """Read numbers that come as text: Snakemake's --config gives those inside a block so, and YAML gives 1e-3."""
        if not isinstance(data, Mapping):
            return data
        numeric = {name for name, field in cls.model_fields.items() if field.annotation in _NUMERIC}
        return {key: _read_number(value) if key in numeric else value for key, value in data.items()}


def setting(default: Any, description: str, *, unit: str | None = None, **limits: Any) -> Any:
    """Return a pydantic field with a description, a unit for the reference table, and limits (`ge`, `le`, ...)."""
    return Field(default, description=description, json_schema_extra={"unit": unit} if unit else None, **limits)


def _read_number(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return value


def as_tuple(value: Any) -> Any:
    """Return a list, as YAML gives it, as the tuple that strict settings ask for."""
    return tuple(value) if isinstance(value, list) else value


def _read_index(channel: Any) -> Any:
    return int(channel) if isinstance(channel, str) and channel.isascii() and channel.isdigit() else channel


def _parse_channels(value: Any) -> tuple[str | int, ...]:
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("channels", "Input should be a list of names and 0-based indices")
    channels = tuple(map(_read_index, value))
    for channel in channels:
        if isinstance(channel, bool) or not isinstance(channel, str | int):
            raise PydanticCustomError("channels", "Input should be a list of names (in quotes) and 0-based indices")
        if isinstance(channel, int) and channel < 0:
            raise PydanticCustomError("channels", "Input should be a list of names and indices from 0")
        if isinstance(channel, str) and not channel.strip():
            raise PydanticCustomError("channels", "Input should be a list without empty names")
    if not channels:
        raise PydanticCustomError("channels", "Input should be null or a list of at least one channel")
    if len(set(channels)) < len(channels):
        raise PydanticCustomError("channels", "Input should be a list that names each channel once")
    return channels


Channels = Annotated[
    tuple[str | int, ...],
    BeforeValidator(_parse_channels),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}]},
        }
    ),
]
"""Channel names and 0-based indices, in the order wanted; at least one, none twice. Text of digits is an index."""


def _parse_scatter(value: Any) -> Any:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if number == AUTO or (isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= _MOST_PARTS):
        return number
    raise PydanticCustomError("scatter", "Input should be a number from 1 to {most}, or auto", {"most": _MOST_PARTS})


AUTO: Literal["auto"] = "auto"

_MOST_PARTS = 1000

Scatter = Annotated[
    int | Literal["auto"],
    BeforeValidator(_parse_scatter),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": _MOST_PARTS}, {"const": AUTO}]}),
]
"""Jobs that an image is cut into, or `auto`."""
