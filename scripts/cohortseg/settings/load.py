"""From a mapping to settings, with every fault in one error."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeGuard, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cohortseg.errors import SettingsError
from cohortseg.settings.models import Settings

Model = TypeVar("Model", bound=BaseModel)


def load_settings(mapping: Mapping[str, object]) -> Settings:
    """Return the settings of a config mapping; keys that are left out take their defaults.

    Raises
    ------
    SettingsError
        Lists every unknown key, wrong type and value out of range.
    """
    return load_block(Settings, mapping)


def load_block(model: type[Model], mapping: Mapping[str, object]) -> Model:
    """Return `mapping` as one settings `model`, such as SegmentSettings or StitchSettings.

    Raises
    ------
    SettingsError
        Lists every unknown key, wrong type and value out of range.
    """
    try:
        return model.model_validate(mapping)
    except ValidationError as error:
        faults = describe_faults(model, error)
        noun = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise SettingsError(
            f"the settings have {noun}",
            "each has to be put right:\n  " + ".\n  ".join(f"{key}: {text}" for key, text in faults),
            "\nCorrect the config; config/README.md lists every key, its default and its meaning.",
        ) from error


def describe_faults(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Return (dotted key, what is wrong with its value) of each fault that pydantic found."""
    return [(_dotted(fault), _describe(model, fault)) for fault in error.errors(include_url=False)]


def suggest(name: str, legal: Sequence[str]) -> str:
    """Return "did you mean 'x'? " where a legal name is near or ends in `.name`, else nothing."""
    near = [key for key in legal if key.endswith(f".{name}")] or get_close_matches(name, legal, n=1)
    return f"did you mean '{near[0]}'? " if near else ""


def _describe(model: type[BaseModel], fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        *parents, name = map(str, fault["loc"])
        legal = sorted(_nested(model, parents).model_fields)
        return f"unknown key; {suggest(name, [*legal, *_dotted_keys(model)])}allowed: {', '.join(legal)}"
    if fault["type"] == "missing":
        return "it is missing or empty"
    return f"found {_shown(fault['input'])}, allowed: {_allowed(fault)}"


def _allowed(fault: ErrorDetails) -> str:
    if fault["type"] == "model_type":
        return "a block of keys"
    if fault["type"] == "string_pattern_mismatch":
        return f"text that matches {fault['ctx']['pattern']}"
    return fault["msg"].removeprefix("Input should ").removeprefix("be ").split(", unable")[0]


def _dotted(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"]) or "the whole config"


def _dotted_keys(model: type[BaseModel]) -> list[str]:
    blocks = ((name, field.annotation) for name, field in model.model_fields.items())
    return [f"{name}.{key}" for name, block in blocks if _is_model(block) for key in block.model_fields]


def _shown(value: Any) -> str:
    text = repr(value.model_dump() if isinstance(value, BaseModel) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _nested(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    for part in path:
        if part.isdigit():  # place of an entry in a list, whose model is that of the list
            continue
        inner = model.model_fields[part].annotation
        entries = [each for each in get_args(inner) if _is_model(each)]
        model = inner if _is_model(inner) else entries[0] if entries else model
    return model
