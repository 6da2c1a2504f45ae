"""Cellpose 3.1.1.3's side of the parity check; runs in its own environment, which need not have cohortseg.

cellpose3.py new CHECKPOINT                                writes a randomly initialised network
cellpose3.py train CHECKPOINT IMAGES.npz                   writes one that has learned a little from images and labels
cellpose3.py net CHECKPOINT INPUT.npy OUTPUT.npz           runs the network on a batch, (n, 2, y, x)
cellpose3.py eval CHECKPOINT IMAGE.npy LABELS.npy DIAMETER TILE segments an image, (y, x), in tiles of this side
"""

import sys

import numpy as np
import torch

WIDTHS = [2, 32, 64, 128, 256]


def new(checkpoint: str) -> None:
    from cellpose.resnet_torch import CPnet

    torch.manual_seed(0)
    network = CPnet(WIDTHS, nout=3, sz=3)
    for name, values in network.named_buffers():
        if values.dtype.is_floating_point:  # statistics that are not those of a network that has seen nothing
            values.uniform_(0.5, 1.5) if name.endswith("var") else values.normal_()
    network.save_model(checkpoint)


def train(checkpoint: str, images: str) -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from cellpose.models import CellposeModel
    from cellpose.train import train_seg

    torch.manual_seed(0)
    np.random.seed(0)
    given = np.load(images)
    network = CellposeModel(gpu=False, pretrained_model=None).net
    with TemporaryDirectory() as folder:
        written = train_seg(
            network,
            list(given["images"]),
            list(given["labels"].astype(np.int32)),
            channels=[0, 0],
            n_epochs=3,
            save_path=folder,
        )[0]
        Path(written).rename(checkpoint)


def net(checkpoint: str, given: str, output: str) -> None:
    from cellpose.resnet_torch import CPnet

    network = CPnet(WIDTHS, nout=3, sz=3)
    network.load_model(checkpoint, device=torch.device("cpu"))
    with torch.no_grad():
        fields, style = network.eval()(torch.from_numpy(np.load(given)))[:2]
    np.savez(output, fields=fields.numpy(), style=style.numpy())


def evaluate(checkpoint: str, image: str, labels: str, diameter: str, tile: str) -> None:
    from cellpose.models import CellposeModel

    model = CellposeModel(gpu=False, pretrained_model=checkpoint)
    masks = model.eval(np.load(image), diameter=float(diameter), channels=[0, 0], bsize=int(tile))[0]
    np.save(labels, masks.astype(np.int32))


if __name__ == "__main__":
    {"new": new, "train": train, "net": net, "eval": evaluate}[sys.argv[1]](*sys.argv[2:])
