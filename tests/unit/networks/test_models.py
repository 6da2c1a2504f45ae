"""A network is found by name or file, or the user is told how to name it."""

from pathlib import Path

import pytest

from cohortseg.errors import MissingFileError, SettingsError
from cohortseg.networks import find_checkpoint
from cohortseg.settings import SegmentSettings
from cohortseg.settings.weights import BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_networks_come_with_the_package_and_with_a_card(name: str) -> None:
    path = find_checkpoint(SegmentSettings(model=name))
    assert path.is_file()
    assert path.with_suffix(".md").is_file()


def test_a_file_wins_over_the_name(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert find_checkpoint(SegmentSettings(model_path=str(tmp_path / "mine"))) == tmp_path / "mine"
    with pytest.raises(MissingFileError, match="is not a file"):
        find_checkpoint(SegmentSettings(model_path=str(tmp_path)))


def test_networks_whose_weights_the_user_brings_say_so() -> None:
    with pytest.raises(MissingFileError, match=r"weights of model 'cyto3' do not come with cohortseg.*model_path"):
        find_checkpoint(SegmentSettings(model="cyto3"))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"model 'cyto9' is not known; known are: nuclei-mini, cyto"):
        find_checkpoint(SegmentSettings(model="cyto9"))
