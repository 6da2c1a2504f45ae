"""The models to compare, as settings."""

from typing import Any

import pytest

from cohortseg.errors import SettingsError
from cohortseg.settings import SegmentSettings, load_block, load_settings


def models_of(*entries: Any) -> Any:
    return load_settings({"compare": {"models": list(entries)}}).compare.models


def test_nothing_is_compared_by_itself() -> None:
    assert load_settings({}).compare.models == ()


def test_an_entry_replaces_what_it_names_and_nothing_else() -> None:
    (thick,) = models_of({"name": "thick", "diameter": 40, "channels": ["1"]})
    assert thick.overrides() == {"diameter": 40, "channels": [1]}


def test_an_entry_of_another_model_does_not_take_the_files_of_the_configs_model() -> None:
    (cyto,) = models_of({"name": "c", "model": "cyto3", "model_path": "~/cyto3"})
    general = load_block(SegmentSettings, {"model": "mine", "model_path": "mine.pt", "size_model_path": "mine.npy"})
    segment = load_block(SegmentSettings, general.overriding(cyto.overrides()))
    assert segment.model == "cyto3"
    assert segment.model_path is not None
    assert segment.model_path.endswith("/cyto3")
    assert "~" not in segment.model_path
    assert segment.size_model_path is None


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "a"}, {"name": "A"}], r"entries of different names.*repeated: a"),
        ([{"name": "a/b"}], r"compare\.models\.0\.name: found 'a/b'"),
        ([{"name": ".hidden"}], r"compare\.models\.0\.name"),
        ([{"model": "cyto3"}], r"compare\.models\.0\.name: it is missing"),
        ([{"name": "a"}, {"name": "b", "diametr": 3}], r"compare\.models\.1\.diametr: unknown key; did you mean 'diam"),
        ([{"name": "a", "model_path": "x.pt"}], r"a model with a name where a path is given"),
        ([{"name": "a", "diameter": 0}], r"compare\.models\.0\.diameter: found 0"),
        (["a"], r"compare\.models\.0: found 'a', allowed: a block of keys"),
        ({"name": "a"}, r"allowed: a list of entries"),
    ],
)
def test_faults_name_the_entry(entries: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings({"compare": {"models": entries}})
