"""The report on a stack's links."""

import json

import numpy as np
import pandas as pd

from cohortseg.stitch import describe_links


def stack(paths: list[list[int]]) -> pd.DataFrame:
    """Return links of objects, each given by the planes that it is in."""
    rows = [
        (z, cell_id, 0.8 if z > planes[0] else np.nan) for cell_id, planes in enumerate(paths, start=1) for z in planes
    ]
    table = pd.DataFrame(rows, columns=["z_index", "cell_id", "iou"]).sort_values(["z_index", "cell_id"])
    return table.assign(n_splits=0, n_merges=0, plane_cell_id=table["cell_id"])


def test_links_starts_and_ends_are_counted_by_plane() -> None:
    report = describe_links(stack([[2, 3, 5], [3], [5]]), [2, 3, 4, 5])
    assert report == json.loads(json.dumps(report))
    assert (report["n_cells"], report["n_objects"], report["n_links"]) == (5, 3, 2)
    planes = {plane["z_index"]: plane for plane in report["planes"]}
    assert {z: (plane["n_cells"], plane["n_links"], plane["starts"], plane["ends"]) for z, plane in planes.items()} == {
        2: (1, 0, 1, 0),
        3: (2, 1, 1, 1),
        4: (0, 0, 0, 0),
        5: (2, 1, 1, 2),
    }
    assert [plane["start_share"] for plane in report["planes"]] == [None, 0.5, None, 0.5]
    assert [plane["end_share"] for plane in report["planes"]] == [0.0, 0.5, None, None]
    assert report["iou_histogram"]["counts"][16] == 2
    assert len(report["iou_histogram"]["edges"]) == 21


def test_a_plane_at_which_most_objects_break_off_is_suspicious() -> None:
    through = [list(range(10)) for _ in range(50)]
    broken = [part for _ in range(50) for part in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])]
    assert describe_links(stack(through), range(10))["suspicious"] == []
    report = describe_links(stack(through[:10] + broken[:80]), range(10))
    assert report["suspicious"] == [4, 5]
    assert [plane["suspicious"] for plane in report["planes"][4:6]] == [["ends"], ["starts"]]


def test_a_few_cells_are_too_few_to_suspect_anything() -> None:
    few = [list(range(10)), [0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert describe_links(stack(few), range(10))["suspicious"] == []


def test_a_plane_that_repeats_the_one_below_is_suspicious() -> None:
    links = stack([[0, 1, 2]] * 5)
    links.loc[(links["z_index"] == 2), "iou"] = 1.0
    report = describe_links(links, range(3))
    assert report["suspicious"] == [2]
    assert report["planes"][2]["suspicious"] == ["same as below"]


def test_a_stack_without_cells_has_an_empty_report() -> None:
    report = describe_links(stack([]).astype({"iou": float, "cell_id": int, "z_index": int}), [0, 1])
    assert report["n_links"] == 0
    assert report["suspicious"] == []
