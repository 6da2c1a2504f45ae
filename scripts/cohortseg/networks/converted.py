"""Networks converted for OpenVINO, kept between runs.

Conversion needs torch, whose import and use take three seconds; compiling for the processor takes a third of one. So
the converted network is kept, and what was compiled is not: it would depend on the processor.
"""

import hashlib
import json
import logging
import os
import tempfile
import warnings
import zipfile
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import openvino

from cohortseg.networks.facts import NetworkFacts, assumed_diameter_px

if TYPE_CHECKING:
    from cohortseg.networks.checkpoint import Checkpoint

_LOG = logging.getLogger(__name__)
_GRAPH, _WEIGHTS, _FACTS = "network.xml", "network.bin", "facts.json"
_EXAMPLE_PX = 64


def load_converted(path: Path) -> tuple[openvino.Model, NetworkFacts]:
    """Return a checkpoint's network for OpenVINO, from the user's cache where it is there, else converted.

    The cache holds one file for each checkpoint, version of OpenVINO and version of our network code, in
    `$XDG_CACHE_HOME/cohortseg/openvino` or `~/.cache/cohortseg/openvino`. A file is trusted if the folder is the
    user's own and nobody else can write to it. A damaged file is made anew; where the cache cannot be used, a warning
    says so and each run converts.

    Parameters
    ----------
    path
        Checkpoint file.

    Returns
    -------
    tuple
        The model, from (n, channels, y, x) float32 to fields and styles, and what is known of it.

    Raises
    ------
    CheckpointError
        As `load_checkpoint` does.
    """
    folder = _own_folder()
    file = None if folder is None else folder / f"{_key(path)}.zip"
    if file is not None and (kept := _read(file)) is not None:
        return kept
    from cohortseg.networks.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    model = convert(checkpoint)
    if file is not None:
        _write(file, model, checkpoint.facts)
    return model, checkpoint.facts


def convert(checkpoint: "Checkpoint") -> openvino.Model:
    """Convert a network of torch, for any batch and any size.

    By the frontend itself: `openvino.convert_model` would report each conversion to its makers' telemetry.
    """
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros(1, checkpoint.facts.n_channels, _EXAMPLE_PX, _EXAMPLE_PX)
    network = checkpoint.network.to(memory_format=torch.contiguous_format)
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO reads traces, which torch no longer recommends.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = TorchScriptPythonDecoder(traced)
    frontend = FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))


def _key(path: Path) -> str:
    parts = (
        hashlib.sha256(path.read_bytes()).hexdigest(),
        *(hashlib.sha256(Path(__file__).with_name(code).read_bytes()).hexdigest() for code in ("unet.py", "facts.py")),
        openvino.__version__,
        str(assumed_diameter_px(path)),
    )
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _own_folder() -> Path | None:
    """Return the cache folder, made where it is not there; None, with a warning, where it cannot be trusted."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "cohortseg" / "openvino"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
            _warn_once(f"{folder} is not used: others can write to it. Make it your own (chmod 700).")
            return None
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        _warn_once(f"Converted networks are not kept between runs: {error}")
        return None


@cache
def _warn_once(message: str) -> None:
    _LOG.warning(message)


def _read(file: Path) -> tuple[openvino.Model, NetworkFacts] | None:
    """Return what a file of the cache holds, None where it is not there or damaged; each part has a checksum."""
    try:
        with zipfile.ZipFile(file) as archive:
            graph, weights, facts = (archive.read(name) for name in (_GRAPH, _WEIGHTS, _FACTS))
        known = json.loads(facts)
        model = openvino.Core().read_model(model=graph, weights=weights)
        return model, NetworkFacts(**known | {"widths": tuple(known["widths"])})
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever is wrong with it, it is made anew
        _LOG.warning("The converted network %s is damaged (%s) and is made anew.", file, error)
        return None


def _write(file: Path, model: openvino.Model, facts: NetworkFacts) -> None:
    """Write a file of the cache beside its place and rename it, so that jobs that run at the same time see it whole."""
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".") as folder:
            parts = {name: Path(folder, name) for name in (_GRAPH, _WEIGHTS, _FACTS)}
            openvino.save_model(model, parts[_GRAPH], compress_to_fp16=False)
            parts[_FACTS].write_text(json.dumps(asdict(facts)))
            whole = Path(folder, file.name)
            with zipfile.ZipFile(whole, "w") as archive:
                for name, part in parts.items():
                    archive.write(part, name)
            os.replace(whole, file)
    except (OSError, RuntimeError) as error:  # OpenVINO reports a full disk as a RuntimeError
        _LOG.warning("The converted network was not kept for the next run: %s", error)
