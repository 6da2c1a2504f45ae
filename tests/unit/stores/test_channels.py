"""Sums and maxima of channels, and what a miss says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.errors import ChannelError
from cohortseg.stores.channels import ChannelGroup, channel_groups, channel_indices
from cohortseg.stores.source import ArraySource, ImageFacts


def source_with(*channels: str) -> ArraySource:
    pixels = np.zeros((len(channels), 3, 4), np.uint8)
    facts = ImageFacts(Path("slide7.ome.tif"), (3, 4), pixels.dtype, channels, False, None, 1, "array")
    return ArraySource(pixels, facts)


MARKERS = source_with("DAPI", "CD45", "CD8", "Pan-CK", "CD4+", "CD4", "a|b")


@pytest.mark.parametrize(
    ("wanted", "indices", "join", "name"),
    [
        ("DAPI", (0,), "sum", "DAPI"),
        (2, (2,), "sum", "CD8"),
        ("cd45+cd8", (1, 2), "sum", "CD45+CD8"),
        ("CD45 + CD8", (1, 2), "sum", "CD45+CD8"),
        ("1+2+Pan-CK", (1, 2, 3), "sum", "CD45+CD8+Pan-CK"),
        ("CD45|CD8", (1, 2), "max", "CD45|CD8"),
        ("CD4+", (4,), "sum", "CD4+"),
        ("CD4++CD8", (4, 2), "sum", "CD4++CD8"),
        ("CD4+|CD8", (4, 2), "max", "CD4+|CD8"),
        ("a|b", (6,), "sum", "a|b"),
        ("a|b+DAPI", (6, 0), "sum", "a|b+DAPI"),
    ],
)
def test_one_input_of_several_channels(wanted: str | int, indices: tuple[int, ...], join: str, name: str) -> None:
    assert channel_groups(MARKERS, [wanted]) == [ChannelGroup(indices, join, name)]  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", ["CD45+CD45", "1+CD45"])
def test_a_channel_added_to_itself_is_refused(wanted: str) -> None:
    with pytest.raises(ChannelError, match="names a channel twice"):
        channel_groups(MARKERS, [wanted])


def test_a_text_that_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(ChannelError, match="in several ways") as error:
        channel_groups(source_with("a", "b+c", "a+b", "c"), ["a+b+c"])
    assert "indices" in error.value.remedy


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("DAPI2", "channel 'DAPI2' is not in slide7.ome.tif; did you mean 'DAPI'? it has: DAPI, CD45"),
        ("panck", "did you mean 'Pan-CK'?"),
        ("CD45+CD9", "channel 'CD9' is not in slide7.ome.tif; did you mean"),
        ("CD45|9", "channel '9' is not in"),
        ("CD45+", "channel '' is not in"),
        ("CD45+CD8|DAPI", "channel 'CD45+CD8|DAPI' is not in"),
    ],
)
def test_a_miss_names_the_channel_and_suggests_a_near_one(wanted: str, says: str) -> None:
    with pytest.raises(ChannelError) as error:
        channel_groups(MARKERS, [wanted])
    assert says in str(error.value)


@given(
    st.lists(st.text("aB+|1 ", min_size=1, max_size=4).map(str.strip).filter(bool), min_size=1, max_size=5, unique=True)
)
def test_a_channel_that_bears_the_whole_text_always_wins(names: list[str]) -> None:
    source = source_with(*names)
    assert [group.channels for group in channel_groups(source, names)] == [(i,) for i in channel_indices(source, names)]
    assert channel_indices(source, names) == list(range(len(names)))
