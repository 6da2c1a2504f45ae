"""Crops are the same for the same seed and step, and show what they say."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, map_coordinates

from cohortseg.settings.training import TrainSettings
from cohortseg.train.crops import Example, _teaching, _View, example_weights, random_batch

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
    assert (targets.shape, targets.dtype) == ((2, 4, 32, 32), np.float32)
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
    assert not targets[:, :3].any()
    assert targets[:, 3].all()


def test_kinds_are_drawn_by_their_share_and_images_of_a_kind_alike(examples: list[Example]) -> None:
    kinds = ("fluorescence", "fluorescence", "histology")
    mixed = [replace(example, kind=kind) for example, kind in zip(examples, kinds, strict=True)]
    weights = example_weights(mixed, {"fluorescence": 0.6, "histology": 0.2})
    np.testing.assert_allclose(weights, [0.375, 0.375, 0.25])
    np.testing.assert_allclose(example_weights(mixed, {}), [0.25, 0.25, 0.5])
    np.testing.assert_allclose(example_weights(mixed, {"fluorescence": 0.6}), [0.25, 0.25, 0.5])


def test_crops_show_the_same_wherever_the_pixels_lie(
    examples: list[Example], tiny: TrainSettings, tmp_path: Path
) -> None:
    """Pixels on disk, of which only a part is read, give the crops of pixels in memory."""
    on_disk = []
    for i, example in enumerate(examples):
        np.save(tmp_path / f"i{i}.npy", example.image)
        np.save(tmp_path / f"l{i}.npy", example.labels.astype(np.uint16))
        opened = {
            "image": np.load(tmp_path / f"i{i}.npy", mmap_mode="r"),
            "labels": np.load(tmp_path / f"l{i}.npy", mmap_mode="r"),
        }
        on_disk.append(replace(example, **opened))
    for step in range(8):
        for one, other in zip(
            random_batch(examples, EVEN, tiny, step), random_batch(on_disk, EVEN, tiny, step), strict=True
        ):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.7])
def test_a_view_is_that_of_the_whole_image(scale: float) -> None:
    """What is left out of the image because a view does not reach it changes nothing."""
    rng = np.random.default_rng(1)
    plane = cv2.GaussianBlur(rng.random((300, 340), np.float32), (0, 0), 4)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]]) @ np.diag([-1.0, 1.0])
    centre = (141.3, 99.8)
    side = 40
    shown = _View(plane.shape, centre, turn, scale, side).of_plane(plane)
    # A view pixel at (x, y) shows the image at centre + turn^-1 (x - side/2, y - side/2) / scale.
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    moved = np.linalg.inv(turn) @ np.stack([x.ravel(), y.ravel()] - np.full((2, 1), side / 2)) / scale
    at_y, at_x = centre[0] + moved[1] - 0.5, centre[1] + moved[0] - 0.5
    expected = map_coordinates(plane, [at_y, at_x], order=1, mode="constant").reshape(side, side)
    inside = map_coordinates(np.ones_like(plane), [at_y, at_x], order=0, mode="constant").reshape(side, side) == 1
    # Averaging down first blurs: over several pixels of a smooth image, a little.
    np.testing.assert_allclose(shown[inside], expected[inside], atol=0.02 if scale < 0.67 else 0.004)


def test_crops_of_a_colour_image_show_changing_mixes_of_its_channels(tiny: TrainSettings) -> None:
    flat = np.broadcast_to(np.array([0.0, 0.5, 1.0], np.float32)[:, None, None], (3, 200, 200))
    example = Example(flat, np.zeros((200, 200), np.uint32), 20.0, "histology", is_colour=True)
    quiet = tiny.model_copy(update={"batch_size": 64, "scale_jitter": 1.0})
    images, _ = random_batch([example], np.ones(1), quiet, 0)
    assert images.shape == (64, 2, 32, 32)
    assert not images[:, 1].any()
    middles = np.median(images[:, 0], axis=(1, 2))
    assert 0.3 < middles.mean() < 0.7
    assert middles.std() > 0.1


def test_two_channels_stay_two_and_are_changed_alike(examples: list[Example], tiny: TrainSettings) -> None:
    one = examples[0]
    two = replace(one, image=np.concatenate([one.image, one.image]))
    images, _ = random_batch([two], np.ones(1), tiny, 3)
    assert images[:, 0].any()
    # Noise is drawn for each channel; everything else is the same.
    assert np.abs(images[:, 0] - images[:, 1]).max() < 1
    assert np.corrcoef(images[:, 0].ravel(), images[:, 1].ravel())[0, 1] > 0.7


def test_what_is_labelled_in_cells_that_do_not_teach_decides_nothing(
    tiles: tuple[Example, Example], tiny: TrainSettings
) -> None:
    """A merged cell, and the two cells that it is, give the same crops where both are left out."""
    settings = tiny.model_copy(update={"batch_size": 16})
    for step in range(4):
        shown = [
            random_batch([replace(example, untaught=np.array(untaught, np.uint32))], np.ones(1), settings, step)
            for example, untaught in zip(tiles, ([13], [13, 30]), strict=True)
        ]
        taught = [random_batch([example], np.ones(1), settings, step)[1] for example in tiles]
        np.testing.assert_array_equal(shown[0][0], shown[1][0])
        np.testing.assert_array_equal(shown[0][1], shown[1][1])
        assert not np.array_equal(taught[0], taught[1])
        assert not shown[0][1][:, :3].any(axis=1)[shown[0][1][:, 3] == 0].any()


def test_the_rim_of_a_cell_that_does_not_teach_is_of_background_only() -> None:
    rng = np.random.default_rng(3)
    for rim_px in (0.0, 1.0, 2.9, 7.5):
        cells = (rng.random((40, 50)) < 0.1).astype(np.uint32)
        untaught = (rng.random((40, 50)) < 0.01) & (cells == 0)
        near = distance_transform_edt(~untaught) <= rim_px
        np.testing.assert_array_equal(_teaching(cells, untaught, rim_px), ~(untaught | (near & (cells == 0))))
    assert _teaching(cells, np.zeros_like(untaught), 5.0).all()


def test_crops_are_not_drawn_for_cells_that_do_not_teach(tiny: TrainSettings) -> None:
    """Of a large cell and a small one far away, the crops show the small one where the large one is left out."""
    labels = np.zeros((400, 400), np.uint32)
    labels[20:140, 20:140], labels[340:380, 340:380] = 1, 2
    example = Example(np.zeros((1, 400, 400), np.float32), labels, 40.0, "x", untaught=np.array([1], np.uint32))
    _, targets = random_batch([example], np.ones(1), tiny.model_copy(update={"batch_size": 60}), 0)
    assert (targets[:, 2].any(axis=(1, 2))).mean() > 0.5
