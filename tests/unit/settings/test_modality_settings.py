"""The table of modalities: what wins over what."""

from dataclasses import dataclass

import pytest

from cohortseg.errors import SampleSheetError, SettingsError
from cohortseg.settings import SegmentSettings, load_block, load_settings, parse_sheet
from cohortseg.settings.modality import ModalitySettings


@dataclass(frozen=True)
class TextRow:
    line: int
    values: dict[str, str]


def segment(config: dict[str, object], **row: str) -> SegmentSettings:
    """Return the settings of a sample with these columns."""
    rows = [TextRow(2, {"sample": "a", "image": "a.tif", **row})]
    return parse_sheet(rows, "/cohort", load_settings(config), lambda _: True, lambda *_: 1)[0].segment


TABLE: dict[str, object] = {
    "model": "cyto3",
    "model_path": "general",
    "size_model_path": "general_size",
    "channels": ["DAPI"],
    "modalities": {"histology": {"model": "he", "model_path": "he_file", "invert": True, "channels": [1]}},
}


def test_the_modalitys_block_wins_over_the_general_keys_and_the_others_do_not() -> None:
    settings = segment(TABLE)
    told = settings.resolved("histology")
    assert (told.modality, told.model, told.model_path, told.size_model_path) == ("histology", "he", "he_file", None)
    assert (told.invert, told.channels) == (True, (1,))
    other = settings.resolved("grey")
    assert (other.model, other.model_path, other.size_model_path) == ("cyto3", "general", "general_size")
    assert (other.invert, other.channels) == (False, ("DAPI",))


def test_a_column_of_the_sheet_wins_over_the_block() -> None:
    told = segment(TABLE, channels="R", model="nuclei-mini", invert="false").resolved("histology")
    assert (told.model, told.model_path, told.channels, told.invert) == ("nuclei-mini", None, ("R",), False)
    told = segment(TABLE, channels="R").resolved("histology")
    assert (told.model, told.model_path, told.channels, told.invert) == ("he", "he_file", ("R",), True)


def test_what_is_resolved_is_so_for_good() -> None:
    told = segment(TABLE).resolved("histology")
    assert told.resolved("histology") == told
    assert load_block(SegmentSettings, told.model_dump(mode="json")) == told


def test_a_block_with_a_file_alone_calls_the_network_by_it() -> None:
    assert ModalitySettings(model_path="/weights/he_v2").changes()["model"] == "he_v2"
    assert ModalitySettings(model="nuclei-mini").changes() == {
        "model": "nuclei-mini",
        "model_path": None,
        "size_model_path": None,
    }
    assert ModalitySettings().changes() == {}


@pytest.mark.parametrize(
    ("config", "inverted"),
    [
        ({}, [False, True, True]),
        ({"invert": False}, [False, False, False]),
        ({"invert": True}, [True, True, True]),
        ({"modalities": {"grey": {"invert": False}}}, [False, True, False]),
        ({"invert": True, "modalities": {"grey": {"invert": False}}}, [True, True, False]),
        ({"model": "cyto3"}, [False, False, False]),
        ({"model_path": "mine"}, [False, False, False]),
        ({"modalities": {"histology": {"model": "cyto3"}}}, [False, False, True]),
    ],
)
def test_the_built_in_network_sees_dark_cells_inverted_unless_told(
    config: dict[str, object], inverted: list[bool]
) -> None:
    assert [each.invert for each in segment(config).candidates()] == inverted


def test_a_given_modality_leaves_one_network_to_be_there() -> None:
    assert [each.model for each in segment(TABLE).candidates()] == ["cyto3", "he", "cyto3"]
    assert [each.model for each in segment(TABLE, modality="histology").candidates()] == ["he"]


def test_what_decides_the_result_counts_for_a_rerun_and_nothing_else_does() -> None:
    auto, table = segment({}), {"modalities": {"histology": {"channels": ["R"]}}}
    assert segment({"modality": "grey"}).decisive() != auto.decisive()
    assert segment({"invert": True}).decisive() != auto.decisive()
    assert segment(table).decisive() != auto.decisive()
    assert segment(table, modality="grey").decisive() == segment({}, modality="grey").decisive()
    assert segment(table, modality="histology").decisive() != segment({}, modality="histology").decisive()


def test_settings_of_a_caller_win_over_the_table() -> None:
    data = segment(TABLE).overriding({"model_path": "mine", "channels": [2]})
    told = load_block(SegmentSettings, data).resolved("histology")
    assert (told.model_path, told.channels, told.invert) == ("mine", (2,), True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"modality": "brightfield"}, "modality: found 'brightfield', allowed: 'auto', 'fluorescence', 'histology' or"),
        ({"modality": None}, "modality: found None"),
        ({"modalities": {"phase": {}}}, "modalities.phase: unknown key"),
        ({"modalities": {"grey": {"inverted": True}}}, "modalities.grey.inverted: unknown key; did you mean 'invert'"),
        ({"modalities": {"grey": {"channels": []}}}, "modalities.grey.channels: found []"),
        ({"modalities": {"grey": {"invert": "dark"}}}, "modalities.grey.invert: found 'dark'"),
        ({"modalities": {"grey": {"model": ""}}}, "modalities.grey.model: found ''"),
    ],
)
def test_a_fault_in_the_table_is_named(config: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as told:
        load_settings(config)
    assert message in str(told.value)


def test_a_fault_in_the_sheet_is_named() -> None:
    with pytest.raises(SampleSheetError, match="column modality: found 'phase', allowed: 'auto', 'fluorescence'"):
        segment({}, modality="phase")
    with pytest.raises(SampleSheetError, match="column invert: found 'dark'"):
        segment({}, invert="dark")


def test_snakemakes_config_option_gives_blocks_as_text() -> None:
    assert load_settings({"modalities": {"grey": {"invert": "false"}}}).modalities.grey.invert is False
