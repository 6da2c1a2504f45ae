"""Which channels of an image a name, an index or a sum of them means, and what columns call them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cohortseg.errors import ChannelError
from cohortseg.settings.load import suggest
from cohortseg.stores.source import ImageSource

Join = Literal["sum", "max"]

JOINS: dict[str, Join] = {"+": "sum", "|": "max"}
"""Signs between channels that make one of several."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of an image that make one input, by 0-based index, how they do, and what it is called."""

    channels: tuple[int, ...]
    join: Join
    name: str


def channel_indices(source: ImageSource, wanted: Sequence[str | int]) -> list[int]:
    """Return the 0-based index of each wanted channel.

    An exact name wins; then a name that differs in case only, where it is the only such one; an integer, or a text
    of digits that is no channel's name, is an index.

    Raises
    ------
    ChannelError
        A channel is not there, or its name is borne by several; the message lists what there is.
    """
    return [_channel_index(source, channel) for channel in wanted]


def channel_groups(source: ImageSource, wanted: Sequence[str | int]) -> list[ChannelGroup]:
    """Return what each wanted input is made of: a channel, as in `channel_indices`, or several.

    `CD45+CD8` is the sum of two channels, `CD45|CD8` their maximum, pixel by pixel. A channel that bears the whole
    text as its name wins; signs that are part of names are told by there being such names.

    Raises
    ------
    ChannelError
        A channel is not there, its name is borne by several, or a text can be read in several ways.
    """
    return [_channel_group(source, channel) for channel in wanted]


def _channel_group(source: ImageSource, wanted: str | int) -> ChannelGroup:
    signs = [] if isinstance(wanted, int) or _find(source, wanted) else [sign for sign in JOINS if sign in wanted]
    if isinstance(wanted, int) or not signs:
        index = _channel_index(source, wanted)
        return ChannelGroup((index,), "sum", source.channels[index])
    readings = [(sign, parts) for sign in signs for parts in _readings(source, wanted, sign)]
    if not readings:
        for part in wanted.replace("|", "+").split("+"):
            _channel_index(source, part.strip())  # raises for the first that is not there
        raise _absent(source, wanted)
    sign, parts = readings[0]
    indices = tuple(_channel_index(source, part) for part in parts)
    if len(readings) > 1 or len(set(indices)) < len(indices):
        raise ChannelError(
            f"channel {wanted!r} can be read in several ways, or names a channel twice",
            f"{source.path.name} has: {', '.join(source.channels)}",
            "Name the channels by their 0-based indices, such as 1+2, in channels in config/samples.tsv.",
        )
    return ChannelGroup(indices, JOINS[sign], sign.join(source.channels[i] for i in indices))


def _readings(source: ImageSource, text: str, sign: str) -> Iterator[tuple[str, ...]]:
    """Yield every way to cut a text at some of its signs such that each part is a channel."""
    pieces = text.split(sign)

    def cut(first: int) -> Iterator[tuple[str, ...]]:
        for end in range(first + 1, len(pieces) + 1):
            part = sign.join(pieces[first:end]).strip()
            if not (_find(source, part) or _is_index(source, part)):
                continue
            if end == len(pieces):
                yield (part,)
            else:
                yield from ((part, *others) for others in cut(end))

    return cut(0)


def _is_index(source: ImageSource, text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < len(source.channels)


def _find(source: ImageSource, name: str) -> list[int]:
    """Return the channels of a name: those that bear it exactly, else but for the case."""
    exact = [i for i, each in enumerate(source.channels) if each == name]
    return exact or [i for i, each in enumerate(source.channels) if each.casefold() == name.casefold()]


def _channel_index(source: ImageSource, channel: str | int) -> int:
    if isinstance(channel, str):
        found = _find(source, channel)
        if len(found) > 1:
            raise ChannelError(
                f"channel {channel!r} of {source.path.name} is ambiguous",
                f"it is the name of channels {', '.join(map(str, found))}",
                "Name it by its 0-based index in channels in config/samples.tsv.",
            )
        if found:
            return found[0]
        if not (channel.isascii() and channel.isdigit()):
            raise _absent(source, channel)
    index = int(channel)
    if not 0 <= index < len(source.channels):
        raise _absent(source, channel)
    return index


def _absent(source: ImageSource, channel: str | int) -> ChannelError:
    by_case = {name.casefold(): name for name in source.channels}
    near = "" if isinstance(channel, int) else suggest(channel.casefold(), list(by_case))
    for folded, name in by_case.items():
        near = near.replace(f"'{folded}'", f"'{name}'")
    return ChannelError(
        f"channel {channel!r} is not in {source.path.name}",
        f"{near}it has: {', '.join(source.channels)}",
        "Set channels in config/samples.tsv.",
    )


def channel_names(channels: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the name of each channel for its columns: safe to write in a formula, and no two alike."""
    safe = [re.sub(r"\W+", "_", name).strip("_") or str(channel) for channel, name in zip(channels, names, strict=True)]
    uses = Counter(name.casefold() for name in safe)
    taken: set[str] = set()
    columns = []
    for channel, name in zip(channels, safe, strict=True):
        unique = f"{name}_{channel}" if uses[name.casefold()] > 1 else name
        while unique.casefold() in taken:
            unique = f"{unique}_{channel}"
        taken.add(unique.casefold())
        columns.append(unique)
    return columns
