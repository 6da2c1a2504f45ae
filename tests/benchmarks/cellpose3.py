"""What Cellpose 3.1.1.3 does in the benchmarks; runs in its own environment, which has cellpose but not cohortseg.

cellpose3.py checkpoint SMALL.pt OUT.pth   a 6.6 M-parameter network that computes what a smaller one does
cellpose3.py eval CHECKPOINT IMAGE LABELS.npy DIAMETER
cellpose3.py masks FLOWS.npz LABELS.npy [REPEATS]
"""

import json
import sys
import time

import numpy as np
import torch


def widen(small: str, out: str) -> dict[str, float]:
    """Put the weights of a smaller residual U-Net into a network of Cellpose's size; the other channels stay zero."""
    from cellpose.resnet_torch import CPnet

    given = torch.load(small, map_location="cpu", weights_only=True)
    given = given["weights"]
    network = CPnet([2, 32, 64, 128, 256], 3, sz=3)
    state = network.state_dict()
    for name, wide in state.items():
        if name.endswith("running_var"):
            wide.fill_(1)
        else:
            wide.zero_()
        if name in given:
            part = given[name]
            wide[tuple(slice(0, n) for n in part.shape)] = part
    torch.save(state, out)
    return {"parameters": sum(p.numel() for p in network.parameters())}


def evaluate(checkpoint: str, image: str, labels: str, diameter: str) -> dict[str, float]:
    import tifffile
    from cellpose import models

    pixels = tifffile.imread(image)
    model = models.CellposeModel(gpu=False, pretrained_model=checkpoint)
    start = time.perf_counter()
    masks = model.eval(pixels, diameter=float(diameter), channels=[0, 0])[0]
    seconds = time.perf_counter() - start
    np.save(labels, masks.astype(np.uint32))
    return {"seconds": seconds, "cells": int(masks.max())}


def masks_of(flows: str, labels: str, repeats: str = "1") -> dict[str, object]:
    from cellpose import dynamics

    given = np.load(flows)
    flow, logits = given["flow"], given["logits"]
    dynamics.compute_masks(flow[:, :256, :256], logits[:256, :256], niter=200, min_size=15)  # compiles
    seconds = []
    for _ in range(int(repeats)):
        start = time.perf_counter()
        found = dynamics.compute_masks(flow, logits, niter=200, min_size=15)
        seconds.append(time.perf_counter() - start)
    found = found[0] if isinstance(found, tuple) else found
    np.save(labels, np.asarray(found).astype(np.uint32))
    return {"seconds": seconds, "cells": int(np.max(found)), "threads": torch.get_num_threads()}


if __name__ == "__main__":
    steps = {"checkpoint": widen, "eval": evaluate, "masks": masks_of}
    print(json.dumps(steps[sys.argv[1]](*sys.argv[2:])))
