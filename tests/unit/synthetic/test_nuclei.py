from dataclasses import replace

import numpy as np
import pytest

from cohortseg.synthetic.nuclei import Look, Nuclei, chromatin_grain, draw_nuclei, random_nuclei, renumbered

EVEN = np.ones((256, 256), np.float32)
LOOK = Look(diameter_px=20.0, diameter_spread=0.1, elongation=1.3, waviness=0.03, brightness_spread=0.2)


def discs(centres: list[tuple[float, float]], radius_px: float) -> Nuclei:
    nuclei = random_nuclei(np.array(centres), LOOK, np.random.default_rng(0))
    return replace(nuclei, semi_axes_px=np.full((len(centres), 2), radius_px), waves=np.zeros((len(centres), 3, 2)))


def test_a_disc_covers_the_pixels_whose_centres_lie_in_it() -> None:
    _, truth = draw_nuclei(discs([(20.5, 24.0)], 9.0), (40, 50), EVEN)
    y, x = np.indices((40, 50)) + 0.5
    np.testing.assert_array_equal(truth > 0, np.hypot(y - 20.5, x - 24.0) < 9.0)


def test_overlapping_discs_are_parted_halfway() -> None:
    _, truth = draw_nuclei(discs([(20.0, 15.0), (20.0, 27.0)], 9.0), (40, 44), EVEN)
    y, x = np.nonzero(truth == 1)
    assert x.max() + 0.5 < 21 < np.nonzero(truth == 2)[1].min() + 0.5
    assert np.all(truth[y, x] == 1)


def test_light_is_brightest_where_nuclei_overlap() -> None:
    both, _ = draw_nuclei(discs([(20.0, 15.0), (20.0, 27.0)], 9.0), (40, 44), EVEN)
    one, _ = draw_nuclei(discs([(20.0, 15.0)], 9.0), (40, 44), EVEN)
    assert both[20, 20] > one[20, 20]


def test_a_nucleus_over_the_edge_is_clipped_and_one_outside_leaves_nothing() -> None:
    light, truth = draw_nuclei(discs([(0.0, 0.0), (200.0, 200.0)], 9.0), (40, 40), EVEN)
    assert truth[0, 0] == 1
    assert truth.max() == 1
    assert light[0, 0] > 0


def test_a_nucleus_cut_in_two_keeps_its_larger_piece() -> None:
    bar, disc = discs([(20.0, 40.0)], 30.0), discs([(20.0, 45.0)], 12.0)
    both = Nuclei(**{name: np.concatenate([getattr(bar, name), getattr(disc, name)]) for name in vars(bar)})
    both = replace(
        both,
        label=np.array([1, 2], np.uint32),
        semi_axes_px=np.array([[30.0, 4.0], [12.0, 12.0]]),
        angle_rad=np.zeros(2),
        centre=np.array([[20.0, 40.0], [20.0, 52.0]]),
    )
    _, truth = draw_nuclei(both, (40, 80), EVEN)
    columns = np.unique(np.nonzero(truth == 1)[1])
    assert np.all(np.diff(columns) == 1)


def test_size_on_average_is_what_was_asked_for_whatever_the_elongation() -> None:
    rng = np.random.default_rng(0)
    round_, long = (random_nuclei(np.zeros((4000, 2)), LOOK._replace(elongation=e), rng) for e in (1.1, 2.0))
    for nuclei in (round_, long):
        assert 2 * np.sqrt(nuclei.semi_axes_px.prod(axis=1)).mean() == pytest.approx(20, rel=0.02)


def test_scaling_to_nothing_leaves_a_nucleus_out_and_keeps_the_labels_of_the_others() -> None:
    nuclei = random_nuclei(np.full((3, 2), 20.0), LOOK, np.random.default_rng(0))
    scaled = nuclei.scaled(np.array([1.0, 0.0, 0.5]), np.zeros((3, 2)))
    np.testing.assert_array_equal(scaled.label, [1, 3])
    np.testing.assert_array_equal(scaled.semi_axes_px[1], 0.5 * nuclei.semi_axes_px[2])


def test_grain_is_texture_around_one() -> None:
    grain = chromatin_grain(fine_px=1.3, coarse_px=4, contrast=0.13, rng=np.random.default_rng(0))
    assert grain.mean() == pytest.approx(1, abs=0.01)
    assert grain.std() == pytest.approx(0.13, rel=0.1)


def test_renumbering_closes_gaps_in_order() -> None:
    labels = np.array([[0, 7, 7], [3, 0, 9]], np.uint32)
    np.testing.assert_array_equal(renumbered(labels), [[0, 2, 2], [1, 0, 3]])
    np.testing.assert_array_equal(renumbered(np.zeros((2, 2), np.uint32)), np.zeros((2, 2)))
