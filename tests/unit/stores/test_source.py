from pathlib import Path

import numpy as np
import pytest

from cohortseg.arrays import Box
from cohortseg.errors import ChannelError, ImageError
from cohortseg.stores.channels import channel_indices
from cohortseg.stores.source import ArraySource, ImageFacts


def source_with(*channels: str) -> ArraySource:
    pixels = np.arange(len(channels) * 12, dtype=np.uint8).reshape(len(channels), 3, 4)
    facts = ImageFacts(Path("slide7.ome.tif"), (3, 4), pixels.dtype, channels, False, None, 1, "array")
    return ArraySource(pixels, facts)


def test_channels_are_found_by_name_by_index_and_by_digits() -> None:
    source = source_with("Hoechst", "CD45", "7", "cd3")
    assert channel_indices(source, ["CD45", 0, "1", "hoechst", "7", "CD3", 3]) == [1, 0, 1, 0, 2, 3, 3]


def test_the_same_name_in_another_case_does_not_hide_an_exact_one() -> None:
    assert channel_indices(source_with("dapi", "DAPI"), ["DAPI", "dapi"]) == [1, 0]


def test_a_missing_channel_is_named_with_what_there_is_and_what_to_do() -> None:
    with pytest.raises(ChannelError) as error:
        channel_indices(source_with("Hoechst", "CD45"), ["DAPI"])
    assert str(error.value) == (
        "channel 'DAPI' is not in slide7.ome.tif; it has: Hoechst, CD45. Set channels in config/samples.tsv."
    )


@pytest.mark.parametrize("channel", [2, -1, "2", "-1", "²", ""])
def test_an_index_out_of_range_is_refused(channel: str | int) -> None:
    with pytest.raises(ChannelError, match=r"it has: Hoechst, CD45"):
        channel_indices(source_with("Hoechst", "CD45"), [channel])


@pytest.mark.parametrize("channel", ["Dapi", "DAPI"])
def test_a_name_borne_by_two_channels_is_refused(channel: str) -> None:
    names = ("DAPI", "DAPI") if channel == "DAPI" else ("DAPI", "dapi")
    with pytest.raises(ChannelError, match="channels 0, 1"):
        channel_indices(source_with(*names), [channel])


@pytest.mark.parametrize("box", [Box(0, 0, 4, 4), Box(-1, 0, 2, 2), Box(1, 1, 1, 3), Box(2, 0, 1, 3), Box(0, 0, 3, 5)])
def test_a_box_that_leaves_the_image_or_is_empty_is_refused(box: Box) -> None:
    with pytest.raises(ImageError, match="is not a box of pixels"):
        source_with("a").read([0], box)


def test_reading_a_channel_index_out_of_range_is_refused() -> None:
    with pytest.raises(ChannelError, match="channel 1"):
        source_with("a").read([0, 1], Box(0, 0, 1, 1))


def test_what_is_read_may_be_changed_without_changing_the_image() -> None:
    source = source_with("a", "b")
    source.read([1, 0], Box(0, 0, 3, 4))[...] = 0
    assert source.read([1], Box(0, 0, 1, 2)).tolist() == [[[12, 13]]]
