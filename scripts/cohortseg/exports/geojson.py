"""GeoJSON: cells as QuPath reads them, written one after the other.

Features are as QuPath 0.4 and later export and import them: an `id` (UUID), a geometry in full-resolution pixels from
the top left corner, and `properties` with `objectType`, `isLocked`, `name` and `measurements`, an object of numbers.
"""

import json
import math
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from cohortseg.exports.cells import CellSource
from cohortseg.stores.atomic import atomic_path

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:cohortseg:cell")


def write_geojson(path: Path, source: CellSource) -> None:
    """Write a FeatureCollection of all cells with their measurements.

    Outer rings run anticlockwise in (x, y) and holes clockwise, as RFC 7946 wants it. Measurements that are missing or
    infinite, which JSON does not know, are left out, and so is text; booleans are 0 and 1.

    Errors are those of `CellSource.batches`.
    """

    def features() -> Iterator[str]:
        for batch in source.batches():
            measurements = _numbers(batch.table)
            outlines = geometry_texts(batch.geometries)
            for cell_id, outline, values in zip(batch.cell_ids.tolist(), outlines, measurements, strict=True):
                properties = {
                    "objectType": "cell",
                    "isLocked": False,
                    "name": str(cell_id),
                    "measurements": {name: value for name, value in values.items() if math.isfinite(value)},
                }
                yield feature(source.sample, cell_id, outline, properties)

    write_features(path, features())


def write_features(path: Path, features: Iterable[str]) -> None:
    """Write a FeatureCollection, a line a feature, of which one is in memory at a time."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for i, text in enumerate(features):
            file.write(",\n" if i else "\n")
            file.write(text)
        file.write("\n]}\n")


def feature(sample: str, cell_id: int, geometry: str, properties: dict[str, Any]) -> str:
    """Return a cell as JSON; its id is a UUID that depends on the sample's name and the cell's id only."""
    told = json.dumps(properties, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    number = uuid.uuid5(_NAMESPACE, f"{sample}/{cell_id}")
    return f'{{"type":"Feature","id":"{number}","geometry":{geometry},"properties":{told}}}'


def geometry_texts(geometries: NDArray[np.object_]) -> list[str]:
    """Return geometries as GeoJSON, their rings as RFC 7946 wants them."""
    # normalize turns outer rings clockwise and holes the other way, whatever they were
    turned = shapely.reverse(shapely.normalize(geometries))
    return [str(text).replace(", ", ",").replace(".0]", "]").replace(".0,", ",") for text in shapely.to_geojson(turned)]


def _numbers(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the numbers of each row by the names of their columns."""
    numeric = table[[name for name in table.columns if table[name].dtype != object]]
    names = list(map(str, numeric.columns))
    values = [_plain(numeric[name]) for name in names]
    for i in range(len(table)):
        yield {name: column[i] for name, column in zip(names, values, strict=True)}


def _plain(column: "pd.Series[Any]") -> list[Any]:
    if isinstance(column.dtype, pd.Int64Dtype):
        return column.to_numpy(np.float64, na_value=np.nan).tolist()
    values = column.to_numpy()
    return values.astype(np.int64).tolist() if values.dtype == bool else values.tolist()
