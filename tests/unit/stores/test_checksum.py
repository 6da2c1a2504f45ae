"""A checksum tells one input from another, costs little, and is what other programs call SHA-256."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from cohortseg.errors import ImageError
from cohortseg.stores.checksum import BLOCK_BYTES, FULL_BYTES, Checksum, checksum_beside, checksum_of
from cohortseg.stores.location import RemoteLocation

N_BYTES = 70 * BLOCK_BYTES


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that is sampled where more than 64 blocks are not hashed whole."""
    path = tmp_path_factory.mktemp("large") / "image.bin"
    path.write_bytes(b"".join(bytes([i]) * BLOCK_BYTES for i in range(70)))
    return path


@pytest.mark.parametrize("n_bytes", [0, 5, BLOCK_BYTES, 3 * BLOCK_BYTES + 1])
def test_of_a_file_it_is_what_sha256sum_says(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(os.urandom(n_bytes))
    said = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert checksum_of(path) == Checksum(n_bytes, said, None)


def test_a_large_file_is_sampled_and_says_so(large: Path) -> None:
    found = checksum_of(large, full_bytes=N_BYTES - 1)
    assert (found.size_bytes, found.sha256) == (N_BYTES, None)
    content = large.read_bytes()
    starts = [69 * BLOCK_BYTES * i // 63 for i in range(64)]
    sampled = b"".join(content[start : start + BLOCK_BYTES] for start in starts)
    assert found.sampled_sha256 == hashlib.sha256(f"{N_BYTES} .\n".encode() + sampled).hexdigest()
    assert starts[0] == 0
    assert starts[-1] + BLOCK_BYTES == N_BYTES
    assert checksum_of(large, full_bytes=N_BYTES).sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("place", [0, N_BYTES - 1])
def test_a_sample_sees_the_first_and_the_last_byte(large: Path, tmp_path: Path, place: int) -> None:
    other = tmp_path / "other.bin"
    content = bytearray(large.read_bytes())
    content[place] ^= 1
    other.write_bytes(content)
    assert checksum_of(other, full_bytes=1).sampled_sha256 != checksum_of(large, full_bytes=1).sampled_sha256


def test_what_an_80_gb_image_costs_is_64_mib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(80 * 10**9)  # takes no space
    hashed = []
    real = hashlib.sha256()

    class Counting:
        def update(self, block: bytes) -> None:
            hashed.append(len(block))
            real.update(block)

        def hexdigest(self) -> str:
            return real.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Counting)
    assert checksum_of(path).sampled_sha256 is not None
    assert sum(hashed[1:]) == 64 * BLOCK_BYTES < FULL_BYTES


def store(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_of_a_folder_it_counts_names_and_contents(tmp_path: Path) -> None:
    files = {"zarr.json": b"{}", "c/0/0": b"abc", "c/0/1": b""}
    first = checksum_of(store(tmp_path / "a.zarr", files))
    assert first == checksum_of(store(tmp_path / "b.zarr", dict(reversed(files.items()))))
    assert first == Checksum(5, hashlib.sha256(b"3 c/0/0\n0 c/0/1\n2 zarr.json\nabc{}").hexdigest(), None)
    for i, other in enumerate(({"c/0/0": b"abd"}, {"c/0/2": b""}, {"c/0/1": b"{}", "zarr.json": b""})):
        assert checksum_of(store(tmp_path / f"other{i}.zarr", files | other)) != first


def test_blocks_of_a_folder_may_lie_across_its_files(tmp_path: Path) -> None:
    content = os.urandom(N_BYTES)
    cut = BLOCK_BYTES // 2
    whole = store(tmp_path / "a.zarr", {"a": content[:cut], "b": b"", "c": content[cut:]})
    starts = [69 * BLOCK_BYTES * i // 63 for i in range(64)]
    listed = f"{cut} a\n0 b\n{N_BYTES - cut} c\n".encode()
    sampled = b"".join(content[start : start + BLOCK_BYTES] for start in starts)
    assert checksum_of(whole, full_bytes=1).sampled_sha256 == hashlib.sha256(listed + sampled).hexdigest()


def test_beside_other_work_it_is_the_same_and_of_urls_there_is_none(large: Path) -> None:
    with checksum_beside(large) as checksum:
        pass
    assert checksum.result() == checksum_of(large)
    with checksum_beside(RemoteLocation("https://example.org/a.zarr")) as checksum:
        assert checksum.result() is None


def test_an_error_beside_it_stops_the_hashing(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt), checksum_beside(large) as checksum:
        raise KeyboardInterrupt
    assert checksum.done()


def test_a_file_that_went_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone.tif could not be read for its checksum"):
        checksum_of(tmp_path / "gone.tif")
