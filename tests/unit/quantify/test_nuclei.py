"""Which nucleus is whose, against a count over whole images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cohortseg.arrays import Labels
from cohortseg.quantify.nuclei import NucleusLinks, link_nuclei

VALUES = st.sampled_from([0, 0, 1, 2, 5, 2**32 - 1])


def linked(cells: Labels, nuclei: Labels, block_px: int = 1000) -> NucleusLinks:
    return link_nuclei(lambda box: cells[box.slices], lambda box: nuclei[box.slices], cells.shape, block_px)


@given(st.data(), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), st.integers(1, 9))
def test_links_are_those_of_the_whole_image_at_any_size_of_blocks(
    data: st.DataObject, shape: tuple[int, int], block_px: int
) -> None:
    cells, nuclei = (data.draw(hnp.arrays(np.uint32, shape, elements=VALUES)) for _ in range(2))
    owner_of: dict[int, int] = {}
    nuclei_of: dict[int, list[tuple[int, int]]] = {}
    for nucleus in np.unique(nuclei[(nuclei != 0) & (cells != 0)]).tolist():
        under = cells[(nuclei == nucleus) & (cells != 0)].tolist()
        owner = min(set(under), key=lambda cell: (-under.count(cell), cell))
        owner_of[nucleus] = owner
        nuclei_of.setdefault(owner, []).append((-under.count(owner), nucleus))
    links = linked(cells, nuclei, block_px)
    assert dict(zip(links.nucleus_ids.tolist(), links.owners.tolist(), strict=True)) == owner_of
    cell_ids = np.array([1, 2, 4, 5, 2**32 - 1], np.uint32)
    table = links.of_cells(cell_ids)
    assert table["n_nuclei"].tolist() == [len(nuclei_of.get(cell, [])) for cell in cell_ids.tolist()]
    expected = [min(nuclei_of[cell])[1] if cell in nuclei_of else None for cell in cell_ids.tolist()]
    assert table["nucleus_id"].astype(object).where(table["nucleus_id"].notna(), None).tolist() == expected


@pytest.mark.parametrize("empty", ["cells", "nuclei", "both"])
def test_without_cells_or_nuclei_there_are_no_links(empty: str) -> None:
    full, none = np.ones((4, 5), np.uint32), np.zeros((4, 5), np.uint32)
    table = linked(none if empty != "nuclei" else full, none if empty != "cells" else full).of_cells(
        np.array([1], np.uint32)
    )
    assert table["nucleus_id"].isna().all()
    assert table["n_nuclei"].tolist() == [0]
    assert [str(dtype) for dtype in table.dtypes] == ["Int64", "int64"]
