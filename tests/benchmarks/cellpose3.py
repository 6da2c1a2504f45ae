"""What Cellpose does in the benchmarks; runs in an environment that has cellpose, and need not have cohortseg.

cellpose3.py eval CHECKPOINT IMAGE LABELS.npy DIAMETER
cellpose3.py masks FLOWS.npz LABELS.npy
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch

WARM_UP_PX = 256


def evaluate(checkpoint: str, image: str, labels: str, diameter: str) -> dict[str, object]:
    import tifffile
    from cellpose import models

    pixels = tifffile.imread(image)
    model = models.CellposeModel(gpu=False, pretrained_model=checkpoint)
    start = time.perf_counter()
    masks = model.eval(pixels, diameter=float(diameter), channels=[0, 0])[0]
    seconds = time.perf_counter() - start
    np.save(labels, masks.astype(np.uint32))
    return {"seconds": seconds, "cells": int(masks.max())}


def masks_of(flows: str, labels: str) -> dict[str, object]:
    from cellpose import dynamics

    given = np.load(flows)
    flow, logits = given["flow"], given["logits"]
    near = np.s_[..., :WARM_UP_PX, :WARM_UP_PX]
    dynamics.compute_masks(flow[near], logits[near], niter=200, min_size=15)  # compiles
    start = time.perf_counter()
    found = dynamics.compute_masks(flow, logits, niter=200, min_size=15)
    seconds = time.perf_counter() - start
    found = np.asarray(found[0] if isinstance(found, tuple) else found).astype(np.uint32)
    np.save(labels, found)
    return {
        "seconds": seconds,
        "cells": int(found.max()),
        "threads": torch.get_num_threads(),
        "version": version("cellpose"),
    }


if __name__ == "__main__":
    print(json.dumps({"eval": evaluate, "masks": masks_of}[sys.argv[1]](*sys.argv[2:])))
