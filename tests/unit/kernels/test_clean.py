from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.kernels.clean import areas, fill_holes, flow_errors, largest_pieces, relabel
from cohortseg.kernels.follow import follow_flow
from cohortseg.kernels.group import group_endpoints

dynamics = pytest.importorskip("cellpose.dynamics")
cellpose_utils = pytest.importorskip("cellpose.utils")
metrics = pytest.importorskip("cellpose.metrics")

label_images = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


def labels_of(*rows: str) -> np.ndarray:
    return np.array([[int(value) for value in row] for row in rows], np.uint32)


class TestFlowErrors:
    def test_a_flow_that_is_the_cells_own_has_no_error(self) -> None:
        labels = labels_of("0110", "0112", "0022")
        targets = np.random.default_rng(0).normal(0, 1, (2, 3, 4)).astype(np.float32)
        assert flow_errors(labels, 5 * targets, targets) == pytest.approx(0, abs=1e-12)

    def test_the_error_is_the_mean_squared_length_in_unit_steps(self) -> None:
        flow = np.zeros((2, 1, 4), np.float32)
        flow[0, 0] = [5, 10, 5, 99]
        flow[1, 0] = [0, 0, 10, 99]
        assert flow_errors(labels_of("1130"), flow, np.zeros_like(flow)).tolist() == [0, 2.5, 0, 5]

    def test_equals_the_reference(self, crowded_field: Callable) -> None:
        field = crowded_field(30, 128, 12, noise=2, blur=0, seed=6)
        expected, targets = dynamics.flow_error(field.truth.astype(np.int64), field.flow)
        errors = flow_errors(field.truth, field.flow, targets.astype(np.float32))
        assert errors.dtype == np.float32
        assert errors[1:] == pytest.approx(expected, rel=1e-4)

    def test_fields_of_another_shape_are_refused(self) -> None:
        with pytest.raises(ImageError, match="a target of shape"):
            flow_errors(labels_of("11"), np.zeros((2, 1, 2), np.float32), np.zeros((2, 2, 1), np.float32))


class TestFillHoles:
    def test_background_and_cells_within_a_cell_become_that_cell(self) -> None:
        filled = fill_holes(labels_of("111111", "120031", "100001", "111111"))
        assert filled.tolist() == np.ones((4, 6)).tolist()

    def test_a_bay_a_gap_at_the_edge_and_what_two_cells_enclose_stay(self) -> None:
        for rows in (("111", "101", "101"), ("111", "100", "111"), ("1111", "1002", "1222")):
            labels = labels_of(*rows)
            assert np.array_equal(fill_holes(labels), labels)

    def test_a_wall_may_be_closed_by_corners(self) -> None:
        assert fill_holes(labels_of("00200", "02020", "00200"))[1, 2] == 2

    def test_nested_cells_go_to_the_outermost_whatever_their_numbers(self) -> None:
        nested = np.zeros((9, 9), np.uint32)
        for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
            nested[:] = order[0]
            nested[1:8, 1:8] = 0
            nested[2:7, 2:7] = order[1]
            nested[3:6, 3:6] = 0
            nested[4, 4] = order[2]
            assert (fill_holes(nested) == order[0]).all()

    def test_the_labels_given_are_not_changed(self) -> None:
        labels = labels_of("111", "101", "111")
        fill_holes(labels)
        assert labels[1, 1] == 0

    @given(label_images)
    def test_every_cell_is_filled_as_scipy_fills_it(self, labels: np.ndarray) -> None:
        fills = [ndimage.binary_fill_holes(labels == label) for label in (1, 2, 3)]
        filled = fill_holes(labels)
        claims = np.sum(fills, axis=0)
        assert np.array_equal(filled > 0, claims > 0)
        for label, fill in zip((1, 2, 3), fills, strict=True):
            assert np.array_equal(filled[(claims == 1) & fill], np.full(((claims == 1) & fill).sum(), label))

    @given(label_images)
    def test_equals_the_reference_where_no_two_cells_cross(self, labels: np.ndarray) -> None:
        fills = [ndimage.binary_fill_holes(labels == label) for label in (1, 2, 3)]
        nested = all(
            not (one & other).any() or (one <= other).all() or (other <= one).all() for one in fills for other in fills
        )
        if nested and len(np.unique(labels[labels > 0])) == labels.max() and labels.any():
            expected = cellpose_utils.fill_holes_and_remove_small_masks(labels.astype(np.int32), min_size=-1)
            assert np.array_equal(fill_holes(labels), expected)


class TestLargestPieces:
    def test_only_the_largest_piece_stays(self) -> None:
        assert largest_pieces(labels_of("101", "001", "220")).tolist() == labels_of("001", "001", "220").tolist()

    def test_pieces_that_touch_at_a_corner_are_apart(self) -> None:
        assert largest_pieces(labels_of("110", "001")).tolist() == labels_of("110", "000").tolist()

    def test_of_equal_pieces_the_first_in_raster_order_stays(self) -> None:
        assert largest_pieces(labels_of("001", "100", "000")).tolist() == labels_of("001", "000", "000").tolist()

    @given(label_images)
    def test_equals_scipy(self, labels: np.ndarray) -> None:
        expected = np.zeros_like(labels)
        for label in (1, 2, 3):
            pieces, n = ndimage.label(labels == label)
            if n:
                expected[pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])] = label
        assert np.array_equal(largest_pieces(labels), expected)


class TestAreasAndRelabel:
    def test_areas_are_by_label_with_the_background_first(self) -> None:
        assert areas(labels_of("0113", "0100")).tolist() == [4, 3, 0, 1]
        assert areas(np.zeros((0, 3), np.uint32)).tolist() == [0]

    def test_kept_labels_are_renumbered_in_their_order(self) -> None:
        keep = np.array([True, False, True, True])
        assert relabel(labels_of("0123", "3210"), keep).tolist() == labels_of("0012", "2100").tolist()

    def test_labels_without_a_flag_are_refused(self) -> None:
        with pytest.raises(ImageError, match="labels up to 3"):
            relabel(labels_of("0123"), np.array([True, True, True]))
        with pytest.raises(ImageError, match="float64"):
            relabel(labels_of("01"), np.ones(2))

    @pytest.mark.parametrize("function", [areas, largest_pieces])
    def test_labels_far_beyond_their_number_are_refused(self, function: Callable) -> None:
        with pytest.raises(ImageError, match="4000000000"):
            function(np.array([[4_000_000_000]], np.uint32))


def our_masks(flow: np.ndarray, inside: np.ndarray, image: Box | None) -> np.ndarray:
    """The kernels in the order of the reference's compute_masks, at its defaults."""
    labels, _ = group_endpoints(follow_flow(flow, inside, niter=200, image=image), inside)
    targets = dynamics.masks_to_flows_gpu(labels.astype(np.int64))[0].astype(np.float32)
    labels = relabel(labels, flow_errors(labels, flow, targets) <= 0.4)
    labels = fill_holes(relabel(labels, areas(labels) >= 15))
    return relabel(labels, areas(labels) >= 15)


def pooled_precision(truths: list[np.ndarray], predictions: list[np.ndarray]) -> float:
    """AP at IoU 0.9 over all cells of some images."""
    _, tp, fp, fn = metrics.average_precision(
        [truth.astype(np.int64) for truth in truths], [labels.astype(np.int64) for labels in predictions], [0.9]
    )
    return float(tp.sum() / (tp.sum() + fp.sum() + fn.sum()))


def reference_masks(flow: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return dynamics.compute_masks(flow, np.where(inside, 1.0, -1.0), min_size=15, max_size_fraction=1)


class TestTogether:
    @pytest.mark.parametrize(
        ("n_cells", "side", "radius", "noise", "blur"),
        [(120, 320, 14, 1.5, 1), (300, 352, 9, 1, 0), (16, 256, 28, 3, 2)],
    )
    def test_crowded_cells_are_the_references_at_ap_90(
        self, crowded_field: Callable, n_cells: int, side: int, radius: float, noise: float, blur: float
    ) -> None:
        field = crowded_field(n_cells, side, radius, noise=noise, blur=blur, seed=7)
        reference = reference_masks(field.flow, field.inside)
        ours = our_masks(field.flow, field.inside, Box(0, 0, side, side))
        assert reference.max() > 0.8 * n_cells
        assert pooled_precision([reference], [ours]) >= 0.99

    def test_real_cells_are_the_references_at_ap_90(self, shared_data: Path, field_of_labels: Callable) -> None:
        references, ours = [], []
        for path in sorted((shared_data / "dsb2018" / "labels").glob("*.tif"))[::18]:
            labels = tifffile.imread(path)
            # The reference takes minutes over large ones.
            if labels.size > 400 * 400:
                continue
            field = field_of_labels(labels, noise=2, blur=1, seed=8)
            references.append(reference_masks(field.flow, field.inside))
            ours.append(our_masks(field.flow, field.inside, Box(0, 0, *field.inside.shape)))
        assert pooled_precision(references, ours) >= 0.99

    def test_reading_the_flow_at_the_positions_is_nearer_to_the_truth(self, crowded_field: Callable) -> None:
        field = crowded_field(300, 352, 9, noise=1, blur=1, seed=9)
        reference = reference_masks(field.flow, field.inside)
        ours = our_masks(field.flow, field.inside, None)
        assert pooled_precision([field.truth], [ours]) > pooled_precision([field.truth], [reference])
