from pathlib import Path

import numpy as np
import pytest

from cohortseg.arrays import Box
from cohortseg.errors import ImageError
from cohortseg.stores.npy import open_npy
from cohortseg.stores.tables import read_label_image

PLANE = np.arange(12, dtype=np.uint16).reshape(3, 4)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i8", "<u4", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_labels_come_back(dtype: str, order: str, tmp_path: Path) -> None:
    saved = np.asarray(PLANE.astype(dtype), order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", saved)
    read = read_label_image(tmp_path / "a.npy")
    assert read.dtype == np.uint32
    np.testing.assert_array_equal(read, saved)
    np.testing.assert_array_equal(open_npy(tmp_path / "a.npy").read([0], Box(1, 1, 3, 3))[0], saved[1:3, 1:3])


def test_pickled_objects_are_refused_and_the_remedy_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "field_seg.npy", {"masks": PLANE}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"as Cellpose's _seg\.npy does.*Save its masks as TIFF or PNG"):
        open_npy(tmp_path / "field_seg.npy")


def test_stacks_and_damaged_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", PLANE[None])
    with pytest.raises(ImageError, match=r"has shape \(1, 3, 4\)"):
        open_npy(tmp_path / "stack.npy")
    np.save(tmp_path / "a.npy", PLANE)
    whole = (tmp_path / "a.npy").read_bytes()
    for kept in (0, 4, 20, len(whole) - 1):
        (tmp_path / "a.npy").write_bytes(whole[:kept])
        with pytest.raises(ImageError, match=r"a\.npy cannot be read"):
            open_npy(tmp_path / "a.npy")
