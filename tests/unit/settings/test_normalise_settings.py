"""What is normalised how: policies, percentiles and values of a channel."""

from typing import Any

import pytest

from cohortseg.errors import SettingsError
from cohortseg.settings import NormaliseSettings, SegmentSettings, load_block

GIVEN = {"policy": "fixed", "channels": [{"channel": "DAPI", "lower": 100, "upper": 4000}]}


def test_by_default_an_image_is_scaled_by_its_own_percentiles_of_all_pixels() -> None:
    settings = NormaliseSettings()
    assert (settings.policy, settings.foreground, settings.percentiles("DAPI", 0)) == ("image", False, (1.0, 99.0))


def test_an_entry_is_found_by_name_in_any_case_or_by_index() -> None:
    entries = [{"channel": "dapi", "upper_percentile": 99.9}, {"channel": 2, "lower_percentile": 5}]
    settings = load_block(NormaliseSettings, {"channels": entries})
    assert settings.percentiles("DAPI", 0) == (1.0, 99.9)
    assert settings.percentiles("CD45", 2) == (5.0, 99.0)
    assert settings.percentiles("CD8", 1) == (1.0, 99.0)
    assert settings.percentiles("CD45+CD8", None) == (1.0, 99.0)


def test_values_survive_a_trip_through_json_and_stay_hashable() -> None:
    settings = load_block(SegmentSettings, {"normalise": GIVEN})
    assert load_block(SegmentSettings, settings.model_dump(mode="json")) == settings
    assert hash(settings) == hash(load_block(SegmentSettings, {"normalise": GIVEN}))


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ({"policy": "fixed"}, "channels with lower and upper"),
        ({"policy": "fixed", "channels": [{"channel": 0, "upper_percentile": 90}]}, "channels with lower and upper"),
        (GIVEN | {"policy": "image"}, "policy fixed or cohort"),
        (GIVEN | {"foreground": True}, "foreground false"),
        ({"channels": [{"channel": 0, "lower": 3}]}, "both lower and upper"),
        ({"policy": "fixed", "channels": [{"channel": 0, "lower": 3, "upper": 3}]}, "lower < upper"),
        ({"channels": [{"channel": 0, "lower_percentile": 99.5}]}, "lower_percentile < upper_percentile"),
        ({"policy": "tile"}, "image"),
    ],
)
def test_what_does_not_fit_together_is_refused(block: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        load_block(SegmentSettings, {"normalise": block})
