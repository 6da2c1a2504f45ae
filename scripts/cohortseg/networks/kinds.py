"""What a file of weights is, by its content: read without torch, and without executing anything in it."""

import re
import zipfile
from enum import StrEnum
from pathlib import Path

_HEAD_BYTES = 2**12
_NAMES_BYTES = 2**24
# How torch before 1.6 began its files: a pickled magic number.
_OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
# How torch with weights_only=True names what a file asks to be looked up in a module, and might call.
_CODE = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+)")


class Kind(StrEnum):
    """What a file is, in the words of a message."""

    RESIDUAL_UNET = "a residual U-Net of Cellpose 1 to 3 or of cohortseg"
    CELLPOSE4 = "a transformer of Cellpose 4"
    SIZE_MODEL = "a size model of Cellpose 1 to 3"
    OTHER_TORCH = "another network or table of torch"
    TORCHSCRIPT = "a TorchScript program"
    KERAS = "an HDF5 file, as StarDist and other Keras networks are"
    KERAS_ZIP = "a zip archive with a StarDist or another Keras network"
    SAVED_MODEL = "a network of TensorFlow"
    ONNX = "an ONNX network"
    SAFETENSORS = "a safetensors file"
    NUMPY = "a NumPy array"
    WEB_PAGE = "a web page"
    POINTER = "a Git LFS pointer, not the file that it stands for"
    IMAGE = "an image"
    ZIP = "a zip archive"
    BROKEN_ZIP = "a zip archive, as torch writes, that is cut short or damaged"
    ARCHIVE = "a compressed archive"
    PICKLE = "a pickled Python object"
    EMPTY = "an empty file"
    UNKNOWN = "a file of no kind that cohortseg knows"


_OF_TORCH = (Kind.RESIDUAL_UNET, Kind.CELLPOSE4, Kind.OTHER_TORCH)
_BEGINNINGS = (
    (b"\x89HDF\r\n\x1a\n", Kind.KERAS),
    (b"version https://git-lfs", Kind.POINTER),
    (b"II*\0", Kind.IMAGE),
    (b"MM\0*", Kind.IMAGE),
    (b"II+\0", Kind.IMAGE),
    (b"\x89PNG", Kind.IMAGE),
    (b"\xff\xd8\xff", Kind.IMAGE),
    (b"\x1f\x8b", Kind.ARCHIVE),
    (b"7z\xbc\xaf", Kind.ARCHIVE),
    (b"\xfd7zXZ", Kind.ARCHIVE),
)


def kind_of(path: Path) -> Kind:
    """Return what a file is, by how it begins and, for checkpoints of torch, by the names of its parameters.

    A kind is a guess that makes a good message: a file of a right kind may still be damaged, which loading tells.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if not head:
            return Kind.EMPTY
        if head.startswith(b"PK"):
            return _kind_of_zip(path)
        if head.startswith(_OLD_TORCH):
            return _kind_of_names(head + file.read(_NAMES_BYTES))
        if head.startswith(b"\x93NUMPY"):
            return Kind.SIZE_MODEL if b"smean" in head + file.read(_NAMES_BYTES) else Kind.NUMPY
        if _PICKLE.match(head):
            return Kind.PICKLE
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    return _kind_of_text(path, head)


def describe_unreadable(path: Path, error: Exception) -> str:
    """Return what a file is that torch refused with this error, and why, as the end of a sentence.

    What torch itself says of a file that is no table of weights is to read it again and let it execute what it wants.
    """
    kind, reason = kind_of(path), str(error)
    if found := _CODE.search(reason):
        return f"it asks for the code {found[1]}, and nothing in a file of weights is executed"
    if kind not in _OF_TORCH:
        return f"it is {kind}"
    first = reason.strip().partition("\n")[0] or type(error).__name__
    return f"it begins as {kind}, and is damaged" + ("" if "weights_only" in first else f" ({first[:200]})")


def _kind_of_text(path: Path, head: bytes) -> Kind:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")):
        return Kind.WEB_PAGE
    if head[8:9] == b"{" and b'"dtype"' in head:
        return Kind.SAFETENSORS
    # A protobuf message whose first field is the version; its second names the program that wrote it.
    if head[0] == 8 and (path.suffix.lower() == ".onnx" or b"onnx" in head or b"pytorch" in head[:64]):
        return Kind.ONNX
    return Kind.SAVED_MODEL if path.suffix.lower() == ".pb" else Kind.UNKNOWN


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
            if pickles and any("/code/" in name for name in names):
                return Kind.TORCHSCRIPT
            if pickles:
                with archive.open(pickles[0]) as table:
                    return _kind_of_names(table.read(_NAMES_BYTES))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
        return Kind.BROKEN_ZIP
    return Kind.KERAS_ZIP if any(name.endswith((".h5", ".keras")) for name in names) else Kind.ZIP


def _kind_of_names(pickled: bytes) -> Kind:
    if b"downsample.down" in pickled:
        return Kind.RESIDUAL_UNET
    if b"W2" in pickled and (b"encoder.pos_embed" in pickled or b"encoder.cls_token" in pickled):
        return Kind.CELLPOSE4
    return Kind.OTHER_TORCH
