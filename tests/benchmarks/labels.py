"""labels.py FLOWS.npz LABELS.npy REPEATS: `cohortseg.labels_from_flows`, timed in a process of its own."""

import json
import sys
import time

import numpy as np

import cohortseg


def main(flows: str, labels: str, repeats: str) -> None:
    given = np.load(flows)
    flow, logits = given["flow"], given["logits"]
    cohortseg.labels_from_flows(flow[:, :256, :256], logits[:256, :256])  # compiles
    seconds = []
    for _ in range(int(repeats)):
        start = time.perf_counter()
        found = cohortseg.labels_from_flows(flow, logits)
        seconds.append(time.perf_counter() - start)
    np.save(labels, found)
    print(json.dumps({"seconds": seconds, "cells": int(found.max())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
