from pathlib import Path

import numpy as np
import pytest

from cohortseg.stores.pyramid import Pyramid
from cohortseg.stores.shards import ShardGrid


def pyramid(folder: Path, side: int, n_levels: int) -> Pyramid:
    shapes = [-(-side // 2**level) for level in range(n_levels)]
    return Pyramid([ShardGrid(folder / str(i), (n, n), 4, 8, 3, is_stack=False) for i, n in enumerate(shapes)])


@pytest.mark.parametrize("side", [1, 8, 50, 129])
def test_every_shard_has_its_place_once(side: int, tmp_path: Path) -> None:
    places = list(pyramid(tmp_path, side, 1).places())
    n = -(-side // 8)
    assert sorted(places) == [(row, column) for row in range(n) for column in range(n)]


def test_few_parts_of_lower_levels_wait_at_once(tmp_path: Path) -> None:
    made, waiting = pyramid(tmp_path, 256, 6), []
    for row, column in made.places():
        made.add(0, row, column, np.ones(made.box(row, column).shape, np.uint32))
        waiting.append(len(made._waiting))
    assert len(waiting) == 32 * 32
    assert max(waiting) <= 5  # one a level
    assert waiting[-1] == 0
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 32**2 + 16**2 + 8**2 + 4**2 + 2**2 + 1


def test_shards_without_labels_are_not_stored_but_counted(tmp_path: Path) -> None:
    made = pyramid(tmp_path, 16, 2)
    for row, column in made.places():
        labels = np.zeros((8, 8), np.uint32)
        labels[0, 2] = row == column == 1
        made.add(0, row, column, labels)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"0/c/1/1", "1/c/0/0"}
