"""labels.py FLOWS.npz LABELS.npy: `cohortseg.labels_from_flows`, timed in a process of its own."""

import json
import sys
import time

import numpy as np

import cohortseg

WARM_UP_PX = 256


def main(flows: str, labels: str) -> None:
    given = np.load(flows)
    flow, logits = given["flow"], given["logits"]
    near = np.s_[..., :WARM_UP_PX, :WARM_UP_PX]
    cohortseg.labels_from_flows(flow[near], logits[near])  # compiles
    start = time.perf_counter()
    found = cohortseg.labels_from_flows(flow, logits)
    seconds = time.perf_counter() - start
    np.save(labels, found)
    print(json.dumps({"seconds": seconds, "cells": int(found.max())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
