"""The seam audit: it finds what a border did, and nothing where none did anything."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cohortseg.arrays import Labels
from cohortseg.segment.audit import SeamAudit, SeamLines
from cohortseg.segment.cells import labels_from_flows
from cohortseg.segment.stream import seam_lines
from cohortseg.segment.tile_counts import Hole, TileCounts
from cohortseg.shapes import polygonise
from cohortseg.synthetic import crowded_field

SIDE_PX = 640
DIAMETER_PX = 12.0
LINES = SeamLines(
    tiles_y=(130, 255, 380, 510),
    tiles_x=(130, 255, 380, 510),
    windows_y=(160, 320, 480),
    windows_x=(160, 320, 480),
    reach_px=1,
    diameter_px=DIAMETER_PX,
)


def cells(labels: Labels) -> geopandas.GeoDataFrame:
    """Return labels as the rows that a run gives out."""
    table = polygonise(labels)
    y, x = np.nonzero(labels)
    counts = np.maximum(np.bincount(labels[y, x]), 1)
    for name, axis in (("centroid_y", y), ("centroid_x", x)):
        table[name] = (np.bincount(labels[y, x], weights=axis) / counts)[table["cell_id"]] + 0.5
    return table


def audited(
    table: geopandas.GeoDataFrame, lines: SeamLines = LINES, shape: tuple[int, int] = (SIDE_PX, SIDE_PX)
) -> dict[str, Any]:
    audit = SeamAudit(lines, shape)
    half = len(table) // 2
    audit.add(table[:half])
    audit.add(table[half:])
    return audit.result()


@pytest.fixture(scope="module", params=range(4))
def crowd(request: pytest.FixtureRequest) -> Labels:
    return crowded_field((SIDE_PX, SIDE_PX), n_cells=1200, diameter_px=DIAMETER_PX, seed=request.param)[1]


def fresh(labels: Labels) -> Labels:
    """Return labels numbered anew, each piece of what was cut its own."""
    _, numbered = np.unique(labels, return_inverse=True)
    return numbered.reshape(labels.shape).astype(np.uint32)


def cut(labels: Labels, lines: tuple[int, ...]) -> Labels:
    """Return labels in which no cell goes on beyond a column of `lines`."""
    columns = np.searchsorted(lines, np.arange(labels.shape[1]), side="right")
    return fresh(np.where(labels > 0, labels + 100_000 * columns, 0))


def moved(lines: SeamLines, by_px: int) -> SeamLines:
    """Return lines of the same distances elsewhere."""
    families = {name: tuple(line + by_px for line in getattr(lines, name)) for name in (
        "tiles_y", "tiles_x", "windows_y", "windows_x"
    )}  # fmt: skip
    return replace(lines, **families)


def test_where_no_border_did_anything_nothing_is_found(crowd: Labels) -> None:
    found = audited(cells(crowd))
    assert (found["passed"], found["reason"], found["findings"], found["outliers"]) == (True, None, [], [])
    assert found["density_ratio"] == pytest.approx(1, abs=0.25)
    assert found["straight_share"] == pytest.approx(found["straight_share_control"], rel=0.25)
    assert np.sum(found["cells_per_tile"]) == np.unique(crowd).size - 1
    assert json.loads(json.dumps(found)) == found


def test_many_random_fields_raise_no_false_alarm() -> None:
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(60):
        # Rectangles are the hardest outlines: all of them run straight. Half of the field is empty, rest is in clumps.
        centres = rng.uniform(0, SIDE_PX, (12, 2))
        places = np.concatenate([rng.normal(centre, 60, (60, 2)) for centre in centres])
        places = places[((places > 10) & (places < SIDE_PX - 10)).all(axis=1) & (places[:, 0] < SIDE_PX / 2)].round()
        sizes = rng.integers(4, 9, places.shape)
        low, high = places - sizes // 2, places - sizes // 2 + sizes
        table = geopandas.GeoDataFrame(
            {"centroid_y": (low + high)[:, 0] / 2, "centroid_x": (low + high)[:, 1] / 2},
            geometry=shapely.box(low[:, 1], low[:, 0], high[:, 1], high[:, 0]),
        )
        failed += audited(table)["passed"] is False
    assert failed == 0


@pytest.fixture(scope="module")
def natural(exact: Any, crowd: Labels) -> dict[str, Labels]:
    """Return fields with the structure that tissue has."""
    y, x = np.indices((SIDE_PX, SIDE_PX))
    squares = (y % 14 < 10) & (x % 14 < 10)
    thin = np.isin(crowd, np.arange(0, crowd.max() + 1, 3)) & (y < SIDE_PX // 2)
    small = crowd[:214, :214]
    return {
        "shaken grid": exact.crowd((SIDE_PX, SIDE_PX), pitch_px=14.0, radius_px=6.5, seed=1),
        "layers beside an empty half": np.where(squares & (x < 320), 1 + y // 14 * 99 + x // 14, 0),
        "edge of the tissue beside a border": np.where(np.isin(crowd, np.unique(crowd[:, 262:])), 0, crowd),
        "edge of the tissue on a border": np.where(np.isin(crowd, np.unique(crowd[:, 255:])), 0, crowd),
        "lumens": np.where((np.hypot(y - 190, x - 240) < 100) | (np.hypot(y - 440, x - 320) < 50), 0, crowd),
        "two densities": np.where(thin, 0, crowd),
        "scaled threefold": np.repeat(np.repeat(small, 3, axis=0), 3, axis=1)[:SIDE_PX, :SIDE_PX],
    }  # fmt: skip


def test_what_tissue_has_by_itself_is_no_finding_wherever_the_borders_lie(natural: dict[str, Labels]) -> None:
    found = {}
    for name, labels in natural.items():
        scaled = name == "scaled threefold"
        table = cells(fresh(labels))
        for by_px in (0, *range(-90, 91, 15)):
            # Lines of a scaled image lie where network pixels meet, and so do all outlines.
            lines = SeamLines(*((120, 255, 384, 513),) * 2, *((162, 321, 480),) * 2, 3, 36.0) if scaled else LINES
            found[name, by_px] = audited(table, moved(lines, by_px))["findings"]
    assert {key: findings for key, findings in found.items() if findings} == {}


@pytest.mark.parametrize("lines", [(255,), LINES.tiles_x, LINES.windows_x], ids=["one line", "tiles", "windows"])
def test_cells_cut_along_borders_are_found(crowd: Labels, lines: tuple[int, ...]) -> None:
    found = audited(cells(cut(crowd, lines)))
    assert found["passed"] is False
    where = {
        (255,): "x = 255, a border of tiles",
        LINES.tiles_x: "the borders of tiles across x",
        LINES.windows_x: "the borders of windows across x",
    }
    assert any(finding.startswith(f"outlines run straight along {where[lines]}") for finding in found["findings"])
    assert not any("across y" in finding or "y = " in finding for finding in found["findings"])
    if lines == LINES.tiles_x:
        assert found["straight_share"] > 1.25 * found["straight_share_control"]


def test_cuts_are_found_whether_or_not_a_tissue_ends_there(crowd: Labels) -> None:
    y, _ = np.indices(crowd.shape)
    half = np.where(y < 400, crowd, 0)
    assert audited(cells(cut(half, LINES.tiles_x)))["passed"] is False


def test_cells_lost_along_borders_are_found(crowd: Labels) -> None:
    table = cells(crowd)
    near = np.abs(table["centroid_x"].to_numpy()[:, None] - LINES.tiles_x).min(axis=1) < 10
    found = audited(table[~near])
    assert found["passed"] is False
    assert any(finding.startswith("cells are missing along") for finding in found["findings"])
    assert found["density_ratio"] < 1


def test_cells_doubled_along_borders_are_found(crowd: Labels) -> None:
    table = cells(crowd)
    near = np.abs(table["centroid_x"].to_numpy()[:, None] - LINES.tiles_x).min(axis=1) < 8
    found = audited(geopandas.pd.concat([table, table[near]]))
    assert found["passed"] is False
    assert any(finding.startswith("cells are doubled along the borders of tiles") for finding in found["findings"])
    assert found["density_ratio"] > 1.2


def scattered(n_cells: int, seed: int) -> NDArray[np.float64]:
    """Return (y, x) of cells anywhere."""
    return np.random.default_rng(seed).uniform(3, SIDE_PX - 3, (2, n_cells)).round()


def boxed(places: NDArray[np.float64]) -> geopandas.GeoDataFrame:
    """Return square cells, 4 px wide, about places."""
    y, x = places
    return geopandas.GeoDataFrame({"centroid_y": y, "centroid_x": x}, geometry=shapely.box(x - 2, y - 2, x + 2, y + 2))


@pytest.mark.parametrize("seed", range(4))
def test_cells_lost_or_doubled_along_one_border_are_found(seed: int) -> None:
    places = scattered(16000, seed)
    away = np.abs(places[1] - 255)
    assert audited(boxed(places))["findings"] == []
    (lost,) = audited(boxed(places[:, away > 10]))["findings"]
    assert lost.startswith("cells are missing along x = 255, a border of tiles: 0 cells, expected")
    doubled = audited(boxed(np.concatenate([places, places[:, away < 6]], axis=1)))["findings"]
    assert any(finding.startswith("cells are doubled along x = 255, a border of tiles") for finding in doubled)


def test_a_tile_without_cells_among_full_ones_is_named() -> None:
    y, x = places = scattered(8000, 0)
    missing = (y > 255) & (y < 380) & (x > 380) & (x < 510)
    found = audited(boxed(places[:, ~missing]), replace(LINES, diameter_px=6.0))
    assert found["passed"] is False
    (outlier,) = found["outliers"]
    assert (outlier["row"], outlier["column"], outlier["cells"]) == (2, 3, found["cells_per_tile"][2][3])
    assert outlier["expected"] == pytest.approx(np.count_nonzero(missing), rel=0.2)
    assert any("row 2, column 3" in finding for finding in found["findings"])


def test_round_holes_as_large_as_a_tile_are_not_tiles() -> None:
    rng = np.random.default_rng(0)
    cells_px, lines = rng.uniform(0, 4500, (9000, 2)), [900, 1800, 2700, 3600]

    def holes(missing: NDArray[np.bool_]) -> list[Hole]:
        counts = TileCounts(lines, lines, (4500, 4500), 30.0)
        counts.add(*cells_px[~missing].T)
        return counts.holes(1e-4)

    for radius_px in range(400, 901, 50):
        assert holes(np.hypot(*(cells_px - 2250).T) < radius_px) == []
    assert holes(cells_px[:, 0] > 2700) == []
    assert holes(np.zeros(9000, np.bool_)) == []
    (hole,) = holes(((cells_px > 1800) & (cells_px < 2700)).all(axis=1))
    assert (hole.row, hole.column, hole.cells) == (2, 2, 0)
    # A batch of two is found, too; a corner of the image has fewer neighbours.
    pair = (cells_px[:, 0] > 1800) & (cells_px[:, 0] < 2700) & (cells_px[:, 1] > 900) & (cells_px[:, 1] < 2700)
    assert [(hole.row, hole.column) for hole in holes(pair)] == [(2, 1), (2, 2)]
    assert [(hole.row, hole.column) for hole in holes((cells_px < 900).all(axis=1))] == [(0, 0)]


def test_tiles_that_see_cells_differently_leave_steps() -> None:
    places, rng = scattered(12000, 0), np.random.default_rng(0)
    lines = tuple(range(64, SIDE_PX, 64))
    rows, columns = (np.searchsorted(lines, place) for place in places)
    shades = {
        "alike": np.ones(12000),
        "tissue": np.where(places.sum(axis=0) < SIDE_PX, 0.4, 1.0),
        "tiles": rng.choice([0.4, 1.0], (10, 10))[rows, columns],
    }
    found = {
        name: audited(boxed(places[:, rng.random(12000) < seen]), SeamLines(lines, lines, (), (), 1, 6.0))
        for name, seen in shades.items()
    }
    assert found["alike"]["findings"] == found["tissue"]["findings"] == []
    assert found["alike"]["density_step"] == pytest.approx(found["alike"]["density_step_control"], abs=0.05)
    assert any(finding.startswith("the density of cells steps across") for finding in found["tiles"]["findings"])
    assert found["tiles"]["density_step"] > 0.2


def test_coinciding_borders_of_tiles_and_windows_are_one(crowd: Labels) -> None:
    lines = SeamLines((320,), (320,), (320,), (320,), 1, DIAMETER_PX)
    assert audited(cells(crowd), lines)["passed"] is True
    found = audited(cells(cut(crowd, (320,))), lines)
    assert any("x = 320, a border of tiles and windows" in finding for finding in found["findings"])


def test_borders_next_to_one_another_do_not_hide_what_either_did(crowd: Labels) -> None:
    lines = replace(LINES, windows_x=tuple(line + 5 for line in LINES.tiles_x))
    assert audited(cells(crowd), lines)["findings"] == []
    assert audited(cells(cut(crowd, LINES.tiles_x)), lines)["passed"] is False
    assert audited(cells(cut(crowd, lines.windows_x)), lines)["passed"] is False


def test_a_tiled_segmentation_passes_and_one_tile_by_tile_fails(exact: Any) -> None:
    labels = crowded_field((480, 480), n_cells=1400, diameter_px=8.0, seed=3)[1]
    field = exact.field(labels)
    tiled = exact.segment_field(field, infer_size=96)
    task = exact.task(field, tiled.network, scale=1.0, pipeline={"infer_size": 96, "overlap_margin": 16})
    lines = seam_lines(task)
    assert min(len(lines.tiles_x), len(lines.windows_x)) > 2
    assert audited(tiled.table, lines, (480, 480))["findings"] == []
    edges = list(pairwise((0, *lines.tiles_x, 480)))
    rows = [np.concatenate([labels_from_flows(field[:2, y0:y1, x0:x1], field[2, y0:y1, x0:x1]).astype(np.int64)
             + 10_000 * (1 + i * len(edges) + j) for j, (x0, x1) in enumerate(edges)], axis=1)
            for i, (y0, y1) in enumerate(edges)]  # fmt: skip
    alone = np.concatenate(rows)
    found = audited(cells(fresh(np.where(alone % 10_000, alone, 0))), lines, (480, 480))
    assert found["passed"] is False
    assert any("along the borders of tiles across" in finding for finding in found["findings"])


def test_too_little_to_judge_is_said(crowd: Labels) -> None:
    none = audited(cells(crowd), SeamLines((), (), (), (), 1, DIAMETER_PX))
    assert (none["passed"], none["reason"], none["findings"]) == (None, "the image is a single tile", [])
    assert none["cells_per_tile"] == [[np.unique(crowd).size - 1]]
    few = audited(cells(crowd)[:20])
    assert (few["passed"], few["findings"]) == (None, [])
    assert "lie along the borders, and at least 10 are needed" in few["reason"]
    empty = audited(cells(crowd)[:0])
    assert (empty["passed"], empty["straight_share"], empty["density_ratio"]) == (None, None, None)
    narrow = replace(LINES, tiles_y=(), windows_y=(), windows_x=(), tiles_x=tuple(range(6, 640, 6)))
    assert "too close together" in audited(cells(crowd), narrow)["reason"]


def test_the_audits_of_parts_add_up(crowd: Labels) -> None:
    table = cells(cut(crowd, (255,)))
    parts = [SeamAudit(LINES, (SIDE_PX, SIDE_PX)) for _ in range(4)]
    for part, rows in zip(parts, (table[:100], table[100:101], table[101:], table[:0]), strict=True):
        part.add(rows)
    states = [json.loads(json.dumps(part.state())) for part in parts]
    assert SeamAudit.merged(states).result() == audited(table)
