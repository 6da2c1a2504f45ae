"""`cohortseg infer` with its decoding counted: the last line it prints says how many bytes each stage decoded, as JSON.

python tests/benchmarks/decoded.py --image-path IMAGE --output-dir FOLDER ...
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from cohortseg.cli import main
from cohortseg.steps import segment
from cohortseg.stores.tiff_pixels import SegmentedPlane

STAGES = {"tell_modality": "modality", "prepare": "prepare", "write_cells": "segment"}
"""What `steps.segment` calls for each stage."""


class Decoded:
    """Bytes of the tiles and strips that were decoded, by stage."""

    def __init__(self) -> None:
        self.stage = "open"
        self.by_stage: dict[str, int] = {}

    def add(self, n_bytes: int) -> None:
        # several threads may be here at once: a count may get lost in a million
        self.by_stage[self.stage] = self.by_stage.get(self.stage, 0) + n_bytes

    def watch(self) -> None:
        """Count all that is decoded from now on in this process."""
        load = SegmentedPlane._load

        def counted(plane: SegmentedPlane, index: int) -> Any:
            pixels = load(plane, index)
            self.add(pixels.nbytes)
            return pixels

        SegmentedPlane._load = counted  # type: ignore[method-assign]
        for name, stage in STAGES.items():
            setattr(segment, name, self._within(stage, getattr(segment, name)))

    def _within(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            self.stage = stage
            return call(*arguments, **named)

        return called


if __name__ == "__main__":
    decoded = Decoded()
    decoded.watch()
    try:
        main(["infer", *sys.argv[1:]])
    finally:
        print(json.dumps({"decoded_bytes": decoded.by_stage}), flush=True)
