"""Settings of a training are checked as a whole."""

from typing import Any

import pytest

from cohortseg.errors import SettingsError
from cohortseg.settings import load_block
from cohortseg.settings.training import TrainSettings


def test_the_defaults_are_valid_and_survive_a_round_trip() -> None:
    settings = TrainSettings()
    assert load_block(TrainSettings, settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"width": [2, 4, 8]}, "width: unknown key; did you mean 'widths'"),
        ({"widths": [3, 4, 8]}, "begin with 2"),
        ({"widths": [2, 0, 8]}, "all positive"),
        ({"widths": [2, 4]}, "widths: found"),
        ({"widths": [2, 4, 4, 4, 4, 4, 4, 4], "crop_px": 48}, "crop_px a multiple"),
        ({"kind_weights": {"histology": 0}}, "kind_weights above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: found nan"),
        ({"precision": "fp8"}, "allowed: 'fp32' or 'bf16'"),
    ],
)
def test_faults_name_their_key(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_block(TrainSettings, mapping)
