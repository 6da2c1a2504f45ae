"""The models hold the documented defaults and refuse what is not allowed."""

import pytest
from pydantic import ValidationError

from cohortseg.errors import SettingsError
from cohortseg.settings import SegmentSettings, Settings, StitchSettings, load_block, load_settings


def test_an_empty_config_gives_the_documented_defaults() -> None:
    settings = load_settings({})
    assert (settings.samples, settings.results, settings.model) == ("config/samples.tsv", "results", "nuclei-mini")
    assert (settings.pipeline.infer_size, settings.pipeline.overlap_margin) == (1024, 64)
    assert settings.postprocess.model_dump() == {
        "niter": 200,
        "cellprob_threshold": 0.0,
        "flow_threshold": 0.4,
        "min_size": 15,
        "resample": False,
    }
    assert (settings.stitch.iou_threshold, settings.stitch.num_process) == (0.5, 8)


def test_a_config_file_of_two_blocks_is_a_whole_config() -> None:
    settings = load_settings({"pipeline": {"infer_size": 512}, "postprocess": {"min_size": 30}})
    assert (settings.pipeline.infer_size, settings.postprocess.min_size) == (512, 30)
    assert settings.pipeline.overlap_margin == 64


def test_settings_survive_a_trip_through_json() -> None:
    settings = load_settings({"channels": ["DAPI", 2], "diameter": 20})
    assert load_settings(settings.model_dump(mode="json")) == settings
    segment = settings.segment_settings()
    assert load_block(SegmentSettings, segment.model_dump(mode="json")) == segment


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().diameter = 3.0  # type: ignore[misc]


def test_equal_settings_are_one_dictionary_key() -> None:
    assert {Settings(): 1}[load_settings({})] == 1


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"pipeline": {"infer_size": 1000}}, "pipeline.infer_size: found 1000, allowed: a multiple of 16"),
        ({"pipeline": {"infer_size": 32}}, "pipeline.infer_size: found 32, allowed: greater than or equal to 64"),
        ({"pipeline": {"overlap_margin": 300}}, "allowed: infer_size >= 4 * overlap_margin"),
        ({"normalise": {"lower_percentile": 99.5}}, "allowed: lower_percentile < upper_percentile"),
        ({"rasterise": {"chunk_px": 1000}}, "allowed: shard_px a multiple of chunk_px"),
        ({"device": "gpu"}, "device: found 'gpu', allowed: 'auto', 'cuda' or 'cpu'"),
        ({"diameter": 0}, "diameter: found 0, allowed: greater than 0"),
        ({"diameter": float("nan")}, "diameter: found nan, allowed: a finite number"),
        ({"diameter": "big"}, "diameter: found 'big', allowed: a valid number"),
        ({"postprocess": {"min_size": 1.5}}, "postprocess.min_size: found 1.5, allowed: a valid integer"),
        ({"postprocess": {"min_size": True}}, "postprocess.min_size: found True, allowed: a valid integer"),
        ({"stitch": {"iou_threshold": 0}}, "stitch.iou_threshold: found 0, allowed: greater than 0"),
        ({"stitch": None}, "stitch: found None, allowed: a block of keys"),
        ({"channels": "DAPI"}, "channels: found 'DAPI', allowed: a list of names"),
        ({"channels": [False]}, "names (in quotes)"),
        ({"channels": [-1]}, "indices from 0"),
        ({"channels": [" "]}, "without empty names"),
        ({"channels": []}, "null or a list of at least one"),
        ({"quantify": {"channels": [1, 1]}}, "quantify.channels: found [1, 1], allowed: a list that names each"),
        ({"infer_size": 512}, "infer_size: unknown key; did you mean 'pipeline.infer_size'?"),
        (
            {"pipeline": {"infersize": 512}},
            "pipeline.infersize: unknown key; did you mean 'infer_size'? allowed: batch",
        ),
        ({3: 4}, "3: found 3"),
    ],
)
def test_a_fault_names_its_key_what_was_found_and_what_is_allowed(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(mapping)
    assert message in str(caught.value)


def test_openvino_does_not_go_with_a_gpu() -> None:
    assert load_settings({"backend": "torch", "device": "cuda"}).backend == "torch"
    with pytest.raises(SettingsError, match="backend auto or torch with device cuda"):
        load_settings({"backend": "openvino", "device": "cuda"})


def test_all_faults_are_in_one_error() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"device": "gpu", "diameter": -1, "pipeline": {"batch_size": 0}})
    assert "3 faults" in caught.value.found
    assert all(key in str(caught.value) for key in ("device:", "diameter:", "pipeline.batch_size:"))


def test_one_block_loads_alone() -> None:
    assert load_block(StitchSettings, {"z_step_um": 1.5}).z_step_um == 1.5
    with pytest.raises(SettingsError, match="z_step: unknown key; did you mean 'z_step_um'"):
        load_block(StitchSettings, {"z_step": 1.5})


def test_only_what_decides_the_cells_counts_for_a_rerun() -> None:
    base = load_settings({}).segment_settings()
    hands: dict[str, object] = {
        "device": "cpu",
        "backend": "torch",
        "precision": "fp32",
        "pipeline": {"batch_size": 4, "n_postprocess_processes": 7},
    }
    assert load_settings(hands).segment_settings().decisive() == base.decisive()
    for mapping in ({"diameter": 30}, {"postprocess": {"min_size": 3}}, {"pipeline": {"infer_size": 512}}):
        assert load_settings(mapping).segment_settings().decisive() != base.decisive()
    assert StitchSettings(num_process=1).decisive() == StitchSettings().decisive()
    assert StitchSettings(iou_threshold=0.3).decisive() != StitchSettings().decisive()


def test_numbers_inside_a_block_of_snakemakes_config_option_are_read() -> None:
    text: dict[str, object] = {"postprocess": {"min_size": "30", "resample": "true", "flow_threshold": "1e-1"}}
    post = load_settings(text).postprocess
    assert (post.min_size, post.resample, post.flow_threshold) == (30, True, 0.1)
    assert load_settings({"channels": ["0", "DAPI"], "report": {"title": "7"}}).channels == (0, "DAPI")


def test_a_diameter_is_given_in_one_unit() -> None:
    with pytest.raises(SettingsError, match="one of diameter and diameter_um, not both"):
        load_settings({"diameter": 20, "diameter_um": 9})
    in_um = load_settings({"diameter_um": 9}).segment_settings()
    replaced = SegmentSettings.model_validate(in_um.overriding({"diameter": 20.0}))
    assert (replaced.diameter, replaced.diameter_um) == (20, None)
    back = SegmentSettings.model_validate(replaced.overriding({"diameter_um": 9.0}))
    assert (back.diameter, back.diameter_um) == (None, 9)


def test_a_background_of_rings_needs_rings_and_neighbours_have_one_distance() -> None:
    with pytest.raises(SettingsError, match="have ring_px where background is ring"):
        load_settings({"quantify": {"background": "ring"}})
    with pytest.raises(SettingsError, match="neighbours_px or neighbours_um, not both"):
        load_settings({"quantify": {"neighbours_px": 3, "neighbours_um": 2}})
    assert load_settings({"quantify": {"background": "ring", "ring_px": 5}}).quantify.ring_px == 5


def test_a_config_names_the_tables_that_it_asks_for() -> None:
    assert load_settings({}).quantify.others() == {}
    assert load_settings({"quantify": {"neighbours_um": 4}}).quantify.others() == {"neighbours": "neighbours.parquet"}
    asked = load_settings({"quantify": {"neighbours_px": 4, "csv": True}}).quantify
    assert asked.others() == {"csv": "cells.csv", "neighbours": "neighbours.parquet"}
