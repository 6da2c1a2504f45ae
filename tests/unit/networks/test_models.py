"""A network is found by name or file, or the user is told how to get it."""

from pathlib import Path

import pytest

from cohortseg.errors import MissingFileError, SettingsError
from cohortseg.networks import find_checkpoint
from cohortseg.networks.models import find_network, model_folder
from cohortseg.settings import SegmentSettings
from cohortseg.settings.registry import BUILT_IN


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHORTSEG_MODELS_PATH", str(tmp_path / "ours"))
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "cellpose"))
    for name in ("ours", "cellpose"):
        (tmp_path / name).mkdir()


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


def test_a_network_lies_in_our_folder_or_in_that_of_cellpose(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"weights of model 'nuclei' are not here.*models fetch nuclei"):
        find_checkpoint(SegmentSettings(model="nuclei"))
    (tmp_path / "cellpose" / "nucleitorch_0").touch()
    (tmp_path / "cellpose" / "size_nucleitorch_0.npy").touch()
    weights = find_network(SegmentSettings(model="nuclei"))
    assert weights.paths() == {
        "path": str(tmp_path / "cellpose" / "nucleitorch_0"),
        "size_model_path": str(tmp_path / "cellpose" / "size_nucleitorch_0.npy"),
    }


def test_the_folder_is_in_the_users_cache_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert model_folder() == tmp_path / "ours"
    monkeypatch.delenv("COHORTSEG_MODELS_PATH")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert model_folder() == Path("/cache/cohortseg/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert model_folder() == Path.home() / ".cache" / "cohortseg" / "models"


def test_a_laboratorys_own_networks_are_found_as_soon_as_they_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"model 'he-lab' is not known; known are: nuclei-mini, cyto"):
        find_checkpoint(SegmentSettings(model="he-lab"))
    (tmp_path / "ours" / "models.yaml").write_text(
        "networks:\n  he-lab: {family: residual-unet, file_name: he.pt, channels: [grey], diameter_px: 25, "
        "modality: histology, licence: CC0}\n"
    )
    (tmp_path / "ours" / "he.pt").touch()
    assert find_checkpoint(SegmentSettings(model="he-lab")) == tmp_path / "ours" / "he.pt"


@pytest.mark.parametrize("text", ["networks: [", "\x00"])
def test_a_models_yaml_that_is_none_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "ours" / "models.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"models\.yaml is not YAML"):
        find_checkpoint(SegmentSettings())
