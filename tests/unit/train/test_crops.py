"""Crops are the same for the same seed and step, and show what they say."""

from dataclasses import replace

import numpy as np
import pytest

from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example, example_weights, random_batch

EVEN = np.full(3, 1 / 3)


def test_a_step_gives_the_same_crops_whenever_it_is_asked_for(examples: list[Example], tiny: TrainSettings) -> None:
    first = random_batch(examples, EVEN, tiny, 4)
    random_batch(examples, EVEN, tiny, 5)
    for one, other in zip(first, random_batch(examples, EVEN, tiny, 4), strict=True):
        assert np.array_equal(one, other)


def test_other_steps_and_other_seeds_give_other_crops(examples: list[Example], tiny: TrainSettings) -> None:
    first, _ = random_batch(examples, EVEN, tiny, 4)
    assert not np.array_equal(first, random_batch(examples, EVEN, tiny, 5)[0])
    assert not np.array_equal(first, random_batch(examples, EVEN, tiny.model_copy(update={"seed": 2}), 4)[0])


def test_crops_have_the_shapes_and_ranges_of_the_networks_input_and_output(
    examples: list[Example], tiny: TrainSettings
) -> None:
    images, targets = random_batch(examples, EVEN, tiny, 0)
    assert (images.shape, images.dtype) == ((2, 2, 32, 32), np.float32)
    assert (targets.shape, targets.dtype) == ((2, 3, 32, 32), np.float32)
    assert not images[:, 1].any()
    inside = targets[:, 2] == 1
    assert np.array_equal(np.unique(targets[:, 2]), [0, 1])
    length = np.hypot(targets[:, 0], targets[:, 1])
    assert not length[~inside].any()
    assert np.median(length[inside]) == pytest.approx(5, abs=1e-4)


def test_cells_are_scaled_to_the_networks_diameter(examples: list[Example], tiny: TrainSettings) -> None:
    settings = tiny.model_copy(update={"scale_jitter": 1.0, "crop_px": 256, "batch_size": 1})
    for example in examples:
        # At 20 px a cell each of these images lies within the crop, however it is turned.
        _, targets = random_batch([example], np.ones(1), settings, 0)
        scale = settings.diameter_px / example.diameter_px
        assert targets[0, 2].sum() == pytest.approx(np.count_nonzero(example.labels) * scale**2, rel=0.1)


def test_an_image_without_cells_gives_crops_of_background(examples: list[Example], tiny: TrainSettings) -> None:
    empty = replace(examples[0], labels=np.zeros_like(examples[0].labels))
    _, targets = random_batch([empty], np.ones(1), tiny, 0)
    assert not targets.any()


def test_kinds_are_drawn_by_their_share_and_images_of_a_kind_alike(examples: list[Example]) -> None:
    kinds = ("fluorescence", "fluorescence", "histology")
    mixed = [replace(example, kind=kind) for example, kind in zip(examples, kinds, strict=True)]
    weights = example_weights(mixed, {"fluorescence": 0.6, "histology": 0.2})
    np.testing.assert_allclose(weights, [0.375, 0.375, 0.25])
    np.testing.assert_allclose(example_weights(mixed, {}), [0.25, 0.25, 0.5])
    np.testing.assert_allclose(example_weights(mixed, {"fluorescence": 0.6}), [0.25, 0.25, 0.5])
