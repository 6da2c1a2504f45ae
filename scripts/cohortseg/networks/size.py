"""Cellpose's size models: from the style of an image to the diameter of its cells."""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cohortseg.errors import CheckpointError, MissingFileError

_KEYS = ("A", "smean", "diam_mean", "ymean")
_MOST_BYTES = 2**24
_SMALLEST_PX = 5.0
_LARGEST_LOG_RATIO = 10.0
# What numpy names in the pickles of its own arrays, dtypes and scalars; nothing else is looked up.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}
_REMEDY = "Set size_model_path (--size-model-path) to the size model of your checkpoint, such as size_cyto3.npy."


@dataclass(frozen=True)
class SizeModel:
    """A linear model from style to the logarithm of the diameter.

    Attributes
    ----------
    weights, mean_style
        (n,) float64, where n is the length of a style.
    diameter_px, mean_log
        Diameter that the model is relative to, and the mean of the logarithm of the ratio to it.
    """

    weights: NDArray[np.float64]
    mean_style: NDArray[np.float64]
    diameter_px: float
    mean_log: float

    @property
    def n_style(self) -> int:
        """Length of the styles that it takes."""
        return self.weights.size

    def predict_px(self, style: NDArray[np.float32]) -> float:
        """Return the diameter of the cells of an image, in its pixels, from its style, (n,); at least 5.

        As `SizeModel` of Cellpose 3.1 (models.py; Stringer et al. 2021, Nature Methods 18:100).
        """
        log_ratio = float(self.weights @ (style.astype(np.float64) - self.mean_style)) + self.mean_log
        return max(_SMALLEST_PX, self.diameter_px * float(np.exp(min(log_ratio, _LARGEST_LOG_RATIO))))


def load_size_model(path: Path) -> SizeModel:
    """Read a size model of Cellpose 1 to 3: a .npy file with a pickled table; nothing in the file is executed.

    Raises
    ------
    MissingFileError
        If there is no file.
    CheckpointError
        If it is damaged, names anything but numbers and numpy arrays, or is no size model.
    """
    if not path.is_file():
        raise MissingFileError(f"size model {path} is not a file", "a size model of Cellpose was expected", _REMEDY)
    table = _read_table(path)
    weights, mean_style, diameter, mean_log = (_numbers(path, table, key) for key in _KEYS)
    if weights.size != mean_style.size or diameter.size != 1 or mean_log.size != 1 or diameter[0] <= 0:
        raise _not_a_model(
            path, f"it has {weights.size} weights, {mean_style.size} mean values and diameter {diameter}"
        )
    return SizeModel(weights, mean_style, float(diameter[0]), float(mean_log[0]))


class _NumbersOnly(pickle.Unpickler):
    """Unpickles builtin containers, numbers, text and numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _read_table(path: Path) -> Mapping[Any, Any]:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _not_a_model(path, f"it has more than {_MOST_BYTES >> 20} MiB")
    stream = io.BytesIO(content)
    try:
        read_header = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        _, _, dtype = read_header(stream)
        table = _NumbersOnly(stream).load() if dtype == np.dtype(object) else None
    except Exception as error:  # a hostile pickle can raise anything; none of it passes for a model
        raise _not_a_model(path, str(error)[:200] or type(error).__name__) from error
    if isinstance(table, np.ndarray) and table.size == 1:
        table = table.reshape(-1)[0]
    if not isinstance(table, dict):
        raise _not_a_model(path, f"it holds {type(table).__name__ if table is not None else 'plain numbers'}")
    return table


def _numbers(path: Path, table: Mapping[Any, Any], key: str) -> NDArray[np.float64]:
    value = table.get(key)
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise _not_a_model(path, f"its {key} is {type(value).__name__}") from error
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise _not_a_model(path, f"its {key} is missing or not finite")
    return numbers


def _not_a_model(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is not a size model: {found}",
        f"a .npy file of Cellpose 1 to 3 with {', '.join(_KEYS)} was expected",
        _REMEDY,
    )
