"""Cellpose's size models predict as they do there; a hostile file runs nothing."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from cohortseg.errors import CheckpointError, MissingFileError
from cohortseg.networks import load_size_model


def saved(path: Path, table: object) -> Path:
    np.save(path, np.array(table, dtype=object), allow_pickle=True)
    return path


def test_the_diameter_is_the_one_of_the_published_formula(tmp_path: Path, size_table: dict[str, Any]) -> None:
    model = load_size_model(saved(tmp_path / "size.npy", size_table))
    style = np.random.default_rng(2).normal(0, 1, 16).astype(np.float32)
    expected = 30.0 * np.exp((size_table["A"] @ (style - size_table["smean"]))[0] + 0.25)
    assert model.n_style == 16
    assert model.predict_px(style) == pytest.approx(expected, rel=1e-5)


def test_a_flat_table_of_weights_is_the_same_model(tmp_path: Path, size_table: dict[str, Any]) -> None:
    flat = size_table | {"A": size_table["A"][0], "diam_mean": np.array([30.0])}
    row, flat_row = (load_size_model(saved(tmp_path / f"{i}.npy", t)) for i, t in enumerate((size_table, flat)))
    assert row.predict_px(np.ones(16, np.float32)) == flat_row.predict_px(np.ones(16, np.float32))


@pytest.mark.parametrize(("ymean", "low", "high"), [(-50.0, 5.0, 5.0), (50.0, 1e5, 1e6)])
def test_predictions_stay_within_sane_diameters(
    tmp_path: Path, size_table: dict[str, Any], ymean: float, low: float, high: float
) -> None:
    model = load_size_model(saved(tmp_path / "size.npy", size_table | {"ymean": ymean}))
    assert low <= model.predict_px(np.zeros(16, np.float32)) <= high


def test_pickles_of_numpy_1_load(tmp_path: Path, size_table: dict[str, Any]) -> None:
    content = saved(tmp_path / "size.npy", size_table).read_bytes()
    start = content.index(b"\n") + 1
    # Protocol 0 to 2 name modules in plain text, as those files do.
    pickled = pickle.dumps(np.array(size_table, dtype=object), protocol=3).replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "old.npy").write_bytes(content[:start] + pickled)
    assert load_size_model(tmp_path / "old.npy").n_style == 16


class Exploit:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def npy_with(pickled: bytes) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + pickled


@pytest.mark.parametrize("place", ["table", "value"])
def test_a_pickle_that_carries_code_runs_none_of_it(tmp_path: Path, size_table: dict[str, Any], place: str) -> None:
    exploit = Exploit(tmp_path / "made")
    saved(tmp_path / "evil.npy", exploit if place == "table" else size_table | {"A": exploit})
    with pytest.raises(CheckpointError, match=r"evil\.npy is not a size model: it asks for posix\.mkdir"):
        load_size_model(tmp_path / "evil.npy")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"cbuiltins\neval\n(V1+1\ntR.",
        b"cnumpy\nload\n(Vx\ntR.",
        b"cnumpy\nndarray.__reduce__\n(tR.",
        b"cnumpy.lib\nnpyio\n.",
        pickle.dumps(np.array(1)).replace(b"numpy._core.multiarray", b"numpy.core.multiarray\\"),
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"I1\n",
        b"",
        b"0.",
    ],
)
def test_hostile_and_damaged_pickles_are_refused(tmp_path: Path, pickled: bytes) -> None:
    (tmp_path / "evil.npy").write_bytes(npy_with(pickled))
    with pytest.raises(CheckpointError, match=r"evil\.npy is not a size model"):
        load_size_model(tmp_path / "evil.npy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": None}, "its A is missing or not finite"),
        ({"A": "text"}, "its A is str"),
        ({"smean": np.array([np.nan] * 16)}, "its smean is missing or not finite"),
        ({"smean": np.zeros(5)}, "it has 16 weights, 5 mean values"),
        ({"diam_mean": -3.0}, "diameter"),
        ({"ymean": np.zeros(2)}, "not a size model"),
    ],
)
def test_wrong_tables_say_what_is_wrong(
    tmp_path: Path, size_table: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_size_model(saved(tmp_path / "size.npy", size_table | change))


def test_other_files_say_what_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY" + b"\0" * 2**24)
    saved(tmp_path / "list.npy", [1, 2])
    for name, message in {
        "numbers.npy": "plain numbers",
        "text.npy": "not a size model",
        "huge.npy": "more than 16 MiB",
        "list.npy": "holds",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            load_size_model(tmp_path / name)
    with pytest.raises(MissingFileError, match=r"absent\.npy is not a file"):
        load_size_model(tmp_path / "absent.npy")
