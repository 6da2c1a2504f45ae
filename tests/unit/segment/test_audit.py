"""The seam audit: it finds what a border did, and nothing where none did anything."""

import json
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from cohortseg.arrays import Labels
from cohortseg.segment.audit import SeamAudit, SeamLines
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


def audited(table: geopandas.GeoDataFrame, lines: SeamLines = LINES) -> dict[str, Any]:
    audit = SeamAudit(lines, (SIDE_PX, SIDE_PX))
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


def test_where_no_border_did_anything_nothing_is_found(crowd: Labels) -> None:
    found = audited(cells(crowd))
    assert (found["passed"], found["reason"], found["findings"], found["outliers"]) == (True, None, [], [])
    assert found["density_ratio"] == pytest.approx(1, abs=0.35)
    assert np.sum(found["cells_per_tile"]) == np.unique(crowd).size - 1
    assert json.loads(json.dumps(found)) == found


def test_many_random_fields_raise_no_false_alarm() -> None:
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(150):
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


def test_cells_on_a_shaken_grid_are_no_finding(exact: Any) -> None:
    for seed in range(4):
        labels = exact.crowd((SIDE_PX, SIDE_PX), pitch_px=14.0, radius_px=6.5, seed=seed)
        assert audited(cells(fresh(labels)))["passed"] is True


def test_cells_in_layers_and_beside_an_empty_half_are_no_finding() -> None:
    y, x = np.indices((SIDE_PX, SIDE_PX))
    labels = np.where((y % 14 < 10) & (x % 14 < 10), 1 + y // 14 * 1000 + x // 14, 0)
    labels[:, 320:] = 0
    assert audited(cells(fresh(labels)))["passed"] is True


@pytest.mark.parametrize("where", ["one line", "all lines"])
def test_cells_cut_along_borders_are_found(crowd: Labels, where: str) -> None:
    labels = crowd.astype(np.int64)
    for line in LINES.tiles_x if where == "all lines" else (255,):
        labels[:, line:] += np.where(labels[:, line:] > 0, 100_000, 0)
    found = audited(cells(fresh(labels)))
    assert found["passed"] is False
    expected = (
        "outlines run straight along x = 255" if where == "one line" else "along the borders of tiles and windows"
    )
    assert any(expected in finding for finding in found["findings"])
    if where == "all lines":
        assert found["straight_share"] > 1.25 * found["straight_share_control"]


def test_cells_cut_along_window_borders_are_found(crowd: Labels) -> None:
    labels = crowd.astype(np.int64)
    for line in LINES.windows_y:
        labels[line:] += np.where(labels[line:] > 0, 100_000, 0)
    found = audited(cells(fresh(labels)))
    assert found["passed"] is False
    assert " across y" in found["findings"][0] or "y = " in found["findings"][0]


@pytest.mark.parametrize("what", ["missing", "doubled"])
def test_cells_lost_or_doubled_along_borders_are_found(crowd: Labels, what: str) -> None:
    table = cells(crowd)
    lines = np.array([*LINES.tiles_x, *LINES.windows_x])
    near = np.abs(table["centroid_x"].to_numpy()[:, None] - lines).min(axis=1) < 8
    table = table[~near] if what == "missing" else geopandas.pd.concat([table, table[near]])
    found = audited(table)
    assert found["passed"] is False
    assert any(f"cells are {what} along" in finding for finding in found["findings"])


def test_a_tile_without_cells_among_full_ones_is_named(crowd: Labels) -> None:
    labels = crowd.copy()
    labels[255:380, 380:510] = 0
    found = audited(cells(fresh(labels)))
    assert found["passed"] is False
    (outlier,) = found["outliers"]
    assert (outlier["row"], outlier["column"], outlier["cells"]) == (2, 3, found["cells_per_tile"][2][3])
    assert any("row 2, column 3" in finding for finding in found["findings"])


def test_too_little_to_judge_is_said(crowd: Labels) -> None:
    none = SeamLines((), (), (), (), 1, DIAMETER_PX)
    assert audited(cells(crowd), none) == audited(cells(crowd), none) | {
        "passed": None, "reason": "the image is a single tile", "findings": []
    }  # fmt: skip
    few = audited(cells(crowd)[:20])
    assert (few["passed"], few["findings"]) == (None, [])
    assert few["reason"] == "fewer than 50 cells"
    empty = SeamAudit(LINES, (SIDE_PX, SIDE_PX))
    empty.add(cells(crowd)[:0])
    assert empty.result()["passed"] is None


def test_the_audits_of_parts_add_up(crowd: Labels) -> None:
    table = cells(crowd)
    parts = [SeamAudit(LINES, (SIDE_PX, SIDE_PX)) for _ in range(3)]
    for part, rows in zip(parts, (table[:100], table[100:101], table[101:]), strict=True):
        part.add(rows)
    states = [json.loads(json.dumps(part.state())) for part in parts]
    assert SeamAudit.merged(states).result() == audited(table)
