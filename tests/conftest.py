"""Fixtures for the whole suite."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import settings
from numpy.typing import NDArray
from playwright.sync_api import Browser, expect, sync_playwright

# The first example of a test may compile a kernel.
settings.register_profile("cohortseg", deadline=None)
settings.load_profile("cohortseg")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep converted and downloaded networks apart from the user's, also in the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("COHORTSEG_MODELS_PATH", raising=False)
        patch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path_factory.mktemp("cellpose")))
        yield


@pytest.fixture(scope="session", params=["cpu", "cuda"])
def torch_device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return each device that torch ops are to run on; skip the GPU where there is none."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    # Thousands of small operations: threads that wait for one another cost far more than they bring.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield str(request.param)
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real images beside the project, or skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images (shared/data beside the project) are not here")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium, the system's, or skip where there is none.

    Of one module: while it is open, an event loop runs in this thread, and other tests start their own.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    expect.set_options(timeout=60_000)  # of a machine of two slow cores, which others use, too
    with sync_playwright() as playwright:
        # Chromium's sandbox does not start for root, as which containers run; it opens our own pages only.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def textured_cells(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return an image and its labels, (112, 112): 16 rough discs of about 20 px on smooth ground, neither brighter."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:112, :112] + 0.5
    labels = np.zeros((112, 112), np.uint16)
    for i, (row, column) in enumerate(np.ndindex(4, 4), start=1):
        cy, cx = (np.array([row, column]) + 0.5) * 28 + rng.uniform(-3, 3, 2)
        labels[np.hypot(yy - cy, xx - cx) < rng.uniform(8, 12)] = i
    image = 100 + 200 * rng.normal(0, 1, labels.shape) * np.where(labels > 0, 0.25, 0.03)
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture
def textured_sheet() -> Callable[..., Path]:
    """Return what writes labelled images of a kind that nuclei-mini has not seen, and gives their training sheet."""

    def write(folder: Path, *, n_train: int, n_test: int) -> Path:
        lines = ["sample\timage\tlabels\tkind\tsplit"]
        for i in range(n_train + n_test):
            image, labels = textured_cells(i)
            cv2.imwrite(str(folder / f"t{i}.png"), image)
            tifffile.imwrite(folder / f"t{i}.tif", labels)
            lines.append(f"t{i}\tt{i}.png\tt{i}.tif\ttextured\t{'train' if i < n_train else 'test'}")
        sheet = folder / "training.tsv"
        sheet.write_text("\n".join(lines) + "\n")
        return sheet

    return write
