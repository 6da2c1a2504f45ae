"""The networks that can be named, and what a laboratory may add to them."""

from typing import Any

import pytest

from cohortseg.errors import MissingFileError, SettingsError
from cohortseg.settings import SegmentSettings
from cohortseg.settings.registry import BUILT_IN, REGISTRY, is_allowed_url, read_own_networks
from cohortseg.settings.weights import ModelPlaces, find_weights

OWN: dict[str, Any] = {
    "family": "residual-unet",
    "file_name": "he_lab_v2.pt",
    "channels": ["grey"],
    "diameter_px": 25,
    "modality": "histology",
    "licence": "CC-BY-4.0",
}


def own(**changes: Any) -> dict[str, Any]:
    return {"networks": {"he-lab": OWN | changes}}


def places(*files: str) -> ModelPlaces:
    networks = {**REGISTRY, **read_own_networks(own(size_model="he_size.npy"), "models.yaml")}
    return ModelPlaces(networks, "/package", ("/ours", "/cellpose"), lambda path: path in files)


def test_every_entry_says_what_it_is_and_where_it_comes_from() -> None:
    assert {"cyto", "cyto2", "cyto3", "nuclei", "cpsam", "cpsam_v2", "cpdino", "cpdino-vitb"} <= set(REGISTRY)
    for entry in REGISTRY.values():
        assert entry.built_in == (entry.url is None) == (entry.name in BUILT_IN)
        assert entry.licence
        assert entry.url is None or entry.url.endswith(f"/{entry.file_name}")
    assert REGISTRY["nuclei"].size_model_url == "https://www.cellpose.org/models/size_nucleitorch_0.npy"
    assert REGISTRY["cyto3"].size_model == "size_cyto3.npy"


def test_a_laboratory_names_its_own_networks() -> None:
    (entry,) = read_own_networks(own(url="https://lab.example/he_lab_v2.pt"), "models.yaml").values()
    assert (entry.name, entry.modality, entry.channels, entry.built_in) == ("he-lab", "histology", ("grey",), False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (own(file_name="../../etc/passwd"), "networks.he-lab: file_name: found '../../etc/passwd'"),
        (own(file_name="/tmp/x"), "file_name: found '/tmp/x'"),
        (own(file_name="models.yaml"), "does not end as records and settings do"),
        (own(size_model="a/b.npy"), "size_model: found"),
        (own(url="http://lab.example/x"), "allowed: the https address of a file"),
        (own(url="file:///etc/passwd"), "url: found"),
        (own(url="https://user:secret@lab.example/x"), "url: found"),
        (own(sha256="abc"), "sha256: found 'abc'"),
        (own(sha265="0" * 64), "sha265: unknown key; did you mean 'sha256'?"),
        (own(family="stardist"), "family: found 'stardist'"),
        ({"networks": {"cyto3": OWN}}, "networks.cyto3: cohortseg has a network of this name"),
        ({"networks": {"a/b": OWN}}, "networks.a/b: a name of letters"),
        ({"networks": {"x": 7}}, "networks.x"),
        ({"models": {}}, "models: unknown key; allowed: networks"),
        ({}, "networks: a block of names was expected"),
    ],
)
def test_what_is_wrong_in_models_yaml_is_listed(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_own_networks(content, "models.yaml")
    assert message in str(raised.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"has 3 faults"):
        read_own_networks(own(sha256="abc", url="ftp://x/y") | {"more": 1}, "models.yaml")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example/b", True),
        ("http://127.0.0.1:8000/b", True),
        ("http://localhost/b", True),
        ("http://[::1]:80/b", True),
        ("http://127.0.0.1.evil.example/b", False),
        ("http://a.example/b", False),
        ("ftp://a.example/b", False),
        ("file:///b", False),
        ("https:///b", False),
        ("https://[bad/b", False),
        ("https://me@a.example/b", False),
    ],
)
def test_downloads_are_https_or_on_this_machine(url: str, allowed: bool) -> None:
    assert is_allowed_url(url) is allowed


def test_a_network_is_found_by_name_in_the_first_folder_that_has_it() -> None:
    assert find_weights(SegmentSettings(), places("/package/nuclei-mini.pt")).checkpoint == "/package/nuclei-mini.pt"
    named = SegmentSettings(model="cyto3")
    assert find_weights(named, places("/cellpose/cyto3")).checkpoint == "/cellpose/cyto3"
    assert find_weights(named, places("/cellpose/cyto3", "/ours/cyto3")).checkpoint == "/ours/cyto3"
    assert find_weights(SegmentSettings(model="he-lab"), places("/ours/he_lab_v2.pt")).entry is not None


def test_its_size_model_comes_along_where_no_diameter_is_given() -> None:
    here = places("/cellpose/cyto3", "/ours/size_cyto3.npy", "/own.npy")
    settings = SegmentSettings(model="cyto3")
    assert find_weights(settings, here).size_model == "/ours/size_cyto3.npy"
    assert find_weights(settings, places("/ours/cyto3")).size_model is None
    assert find_weights(settings.model_copy(update={"diameter": 30.0}), here).size_model is None
    given = settings.model_copy(update={"size_model_path": "/own.npy"})
    assert find_weights(given, here).size_model == "/own.npy"


def test_files_that_are_trusted_to_be_there_are_still_those_that_are() -> None:
    settings = SegmentSettings(model="cyto3")
    assert find_weights(settings, places("/cellpose/cyto3"), lambda _: True).checkpoint == "/cellpose/cyto3"
    assert find_weights(settings, places(), lambda _: True).checkpoint == "/ours/cyto3"


def test_a_missing_network_names_the_file_and_the_command_that_fetches_it() -> None:
    with pytest.raises(MissingFileError) as raised:
        find_weights(SegmentSettings(model="cyto3"), places())
    assert "weights of model 'cyto3' are not here; cyto3 was expected in /ours or /cellpose" in str(raised.value)
    assert "`cohortseg models fetch cyto3`" in str(raised.value)
    with pytest.raises(MissingFileError, match=r"Copy he_lab_v2\.pt to /ours"):
        find_weights(SegmentSettings(model="he-lab"), places())


def test_a_name_that_is_not_known_lists_those_that_are() -> None:
    with pytest.raises(
        SettingsError, match=r"'cyt03' is not known; did you mean 'cyto3'\? known are: nuclei-mini.*he-lab"
    ):
        find_weights(SegmentSettings(model="cyt03"), places())
