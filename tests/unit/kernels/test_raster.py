import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from cohortseg.errors import ImageError, TableError
from cohortseg.kernels.raster import draw_wkb, fill_polygons

Ring = list[tuple[float, float]]
SQUARE: Ring = [(1, 1), (3, 1), (3, 3), (1, 3)]

coordinates = st.integers(-3000, 11000).map(lambda value: value / 1000)
rings = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9)


def fill(polygons: list[list[Ring]], values: list[int], shape: tuple[int, int] = (8, 8), origin=(0, 0)):
    flat = [ring for polygon in polygons for ring in polygon]
    out = np.zeros(shape, np.uint32)
    overwritten = fill_polygons(
        np.array([vertex for ring in flat for vertex in ring], np.float64).reshape(-1, 2),
        np.cumsum([0, *(len(ring) for ring in flat)]),
        np.cumsum([0, *(len(polygon) for polygon in polygons)]),
        np.array(values, np.uint32),
        out,
        origin,
    )
    return out, overwritten


def test_a_pixel_belongs_to_the_polygon_that_holds_its_centre() -> None:
    out, _ = fill([[[(0.5, 0.4), (1.6, 0.4), (1.6, 1.4), (0.5, 1.4)]]], [9], (2, 3))
    assert out.tolist() == [[9, 9, 0], [0, 0, 0]]


def test_a_centre_on_an_edge_is_inside_at_the_left_and_top_only() -> None:
    out, _ = fill([[[(0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 2.5)]]], [1], (3, 3))
    assert out.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_a_closed_ring_is_the_ring() -> None:
    assert np.array_equal(fill([[SQUARE]], [1])[0], fill([[[*SQUARE, SQUARE[0]]]], [1])[0])


def test_holes_are_left_out_whatever_their_orientation() -> None:
    hole: Ring = [(2, 2), (4, 2), (4, 4), (2, 4)]
    for inner in (hole, hole[::-1]):
        out, _ = fill([[[(0, 0), (6, 0), (6, 6), (0, 6)], inner]], [1])
        assert out.sum() == 32
        assert out[2:4, 2:4].sum() == 0


def test_later_polygons_win_and_the_pixels_they_take_are_counted() -> None:
    out, overwritten = fill([[SQUARE], [[(2, 2), (5, 2), (5, 5), (2, 5)]], [SQUARE]], [1, 2, 1])
    assert overwritten == 2
    assert out[2, 2] == 1


def test_a_polygon_over_its_own_value_takes_nothing() -> None:
    assert fill([[SQUARE], [SQUARE]], [4, 4])[1] == 0


def test_polygons_without_rings_or_area_draw_nothing() -> None:
    out, overwritten = fill([[], [[]], [[(1, 1), (4, 4)]], [[(2, 2)]]], [1, 2, 3, 4])
    assert not out.any()
    assert overwritten == 0


def test_a_far_polygon_is_clipped() -> None:
    far = 1e12
    out, _ = fill([[[(-far, -far), (far, -far), (far, far), (-far, far)]]], [1])
    assert out.all()


def test_a_row_of_many_crossings_is_filled_between_every_second() -> None:
    comb: Ring = [(0, 9)]
    for tooth in range(50):
        comb += [(2 * tooth, 0), (2 * tooth + 1, 0), (2 * tooth + 1, 8), (2 * tooth + 2, 8)]
    out, _ = fill([[[*comb, (100, 9)]]], [1], (8, 100))
    assert np.array_equal(out, np.tile(np.uint32([1, 0]), (8, 50)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_vertices_that_are_no_place_are_refused(bad: float) -> None:
    with pytest.raises(TableError, match="missing, infinite"):
        fill([[[(0, 0), (bad, 0), (3, 3)]]], [1])


def test_offsets_that_do_not_fit_are_refused() -> None:
    xy, out = np.zeros((4, 2)), np.zeros((2, 2), np.uint32)
    one, values = np.array([0, 1]), np.ones(1, np.uint32)
    for rings_at, polygons_at in (([0, 5], one), ([0, 3, 2, 4], one), ([0, 4], [0, 2]), ([], one)):
        with pytest.raises(TableError, match="offsets"):
            fill_polygons(xy, np.array(rings_at), np.array(polygons_at), values, out, (0, 0))
    with pytest.raises(TableError, match="2 values for 1 polygons"):
        fill_polygons(xy, np.array([0, 4]), one, np.ones(2, np.uint32), out, (0, 0))
    with pytest.raises(ImageError, match="int64"):
        fill_polygons(xy, np.array([0, 4]), one, values, np.zeros((2, 2), np.int64), (0, 0))


@given(st.lists(rings, min_size=1, max_size=2))
def test_agrees_with_an_even_odd_count_of_crossings_away_from_edges(polygon: list[Ring]) -> None:
    out, _ = fill([polygon], [1])
    centres = np.stack(np.meshgrid(np.arange(8) + 0.5, np.arange(8) + 0.5), axis=-1).reshape(-1, 2)
    edges = shapely.MultiLineString([[*ring, ring[0]] for ring in polygon])
    clear = shapely.distance(shapely.points(centres), edges) > 1e-9
    expected = np.zeros(64, bool)
    for ring in polygon:
        expected ^= points_in_poly(centres, ring)
    assert np.array_equal(out.ravel()[clear] == 1, expected[clear])


@given(rings, st.integers(-2, 6), st.integers(-2, 6), st.integers(0, 6), st.integers(0, 6))
def test_any_window_has_the_pixels_of_the_whole(ring: Ring, y0: int, x0: int, height: int, width: int) -> None:
    whole, _ = fill([[ring]], [1], (20, 20), (-4, -4))
    part, _ = fill([[ring]], [1], (height, width), (y0, x0))
    assert np.array_equal(part, whole[y0 + 4 : y0 + 4 + height, x0 + 4 : x0 + 4 + width])


@given(
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 16)), min_size=1, max_size=6),
    st.tuples(st.integers(1, 15), st.integers(1, 15)),
)
def test_polygons_that_share_edges_neither_share_nor_drop_a_pixel(
    spokes: list[tuple[int, int]], hub: tuple[int, int]
) -> None:
    # Half pixels, so that centres lie on edges often.
    triangles = shapely.delaunay_triangles(shapely.MultiPoint([(0, 0), (16, 0), (0, 16), (16, 16), *spokes, hub]))
    polygons = [[[(x / 2, y / 2) for x, y in triangle.exterior.coords]] for triangle in triangles.geoms]
    out, overwritten = fill(polygons, list(range(1, len(polygons) + 1)))
    assert overwritten == 0
    assert out.all()


def draw(shapes: list[shapely.Geometry | None], values: list[int], shape: tuple[int, int] = (8, 8), **options: object):
    blobs = [b"" if each is None else shapely.to_wkb(each, **options) for each in shapes]
    offsets = np.cumsum([0, *map(len, blobs)])
    out = np.zeros(shape, np.uint32)
    data = np.frombuffer(b"".join(blobs), np.uint8)
    return out, draw_wkb(data, offsets, np.array(values, np.uint32), out, (0, 0), 10)


def fill_shapes(shapes: list[shapely.Geometry]) -> tuple[np.ndarray, int]:
    parts, rows = shapely.get_parts(shapes, return_index=True)
    polygons = [[list(ring.coords) for ring in shapely.get_rings(part)] for part in parts]
    return fill(polygons, [int(row) + 1 for row in rows])


@given(st.lists(rings, min_size=1, max_size=4), st.sampled_from([{}, {"byte_order": 0}, {"include_srid": True}]))
def test_polygons_in_wkb_are_drawn_as_their_vertices_are(found: list[Ring], options: dict[str, object]) -> None:
    single = [shapely.Polygon(ring) for ring in found]
    shapes = [*single, shapely.set_srid(shapely.MultiPolygon(single), 3857)]
    out, overwritten = draw(shapes, list(range(1, len(shapes) + 1)), **options)
    expected, expected_overwritten = fill_shapes(shapes)
    assert np.array_equal(out, expected)
    assert overwritten == expected_overwritten


def test_missing_and_empty_geometries_in_wkb_draw_nothing_and_heights_are_left_out() -> None:
    high = shapely.force_3d(shapely.box(0, 0, 2, 2).difference(shapely.box(0, 0, 1, 1)), 7.0)
    out, _ = draw([None, shapely.Polygon(), shapely.MultiPolygon(), high], [1, 2, 3, 4], (2, 2), output_dimension=3)
    assert out.tolist() == [[0, 4], [4, 4]]


def test_what_is_no_polygon_in_wkb_is_refused_with_its_row() -> None:
    good = shapely.box(0, 0, 2, 2)
    with pytest.raises(TableError, match="row 11 holds another kind"):
        draw([good, shapely.Point(1, 1)], [1, 2])
    with pytest.raises(TableError, match="row 11 has a vertex that is missing"):
        draw([good, shapely.Polygon([(0, 0), (np.inf, 0), (1, 1)])], [1, 2])
    blob = shapely.to_wkb(good)
    for kept in range(1, len(blob)):
        with pytest.raises(TableError, match="row 0 is cut off"):
            draw_wkb(
                np.frombuffer(blob[:kept], np.uint8), np.array([0, kept]), np.ones(1, np.uint32),
                np.zeros((2, 2), np.uint32), (0, 0), 0,
            )  # fmt: skip
