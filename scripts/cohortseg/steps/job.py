"""What every job of the workflow does around its step: a log, and one clear error where it fails."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cohortseg.errors import CohortsegError
from cohortseg.networks import use_own_gpu
from cohortseg.steps.provenance import code_facts, describe_code
from cohortseg.stores.atomic import remove_leftovers, storage_faults
from cohortseg.stores.location import Location, RemoteLocation
from cohortseg.stores.tables import write_json

_LOGGER = logging.getLogger("cohortseg")


def run_job(snakemake: Any, step: Callable[[], None], *, part: str = "", supersedes: Sequence[str] = ()) -> None:
    """Run the step of a rule, logging to the rule's log file and to standard error.

    Where it needs a GPU, it takes one that no other job has.

    A failure ends the process with status 2 (an error that the user can act on, logged as one line) or 1 (any other,
    with its traceback), and leaves `failure.<rule>.json` beside the outputs, which the report reads; a success
    removes the one that its rule left before. What a killed job left half written goes before the step starts.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to scripts: its rule, output and log are used.
    part
        What tells this job's failure from that of other jobs of the rule on the same sample.
    supersedes
        Rules whose failures no longer count once this one is done, since it makes the same in another way.
    """
    log = Path(snakemake.log[0])
    folder = Path(snakemake.output[0]).parent
    failure = failure_file(folder, snakemake.rule, part)
    with _logging_to(log):
        _LOGGER.info("%s: %s", snakemake.rule, describe_code(code_facts()))
        use_own_gpu()
        try:
            with storage_faults(folder):
                for output in snakemake.output:
                    remove_leftovers(Path(output))
                step()
        except CohortsegError as error:
            _LOGGER.error("%s", error)
            facts = {"found": error.found, "expected": error.expected, "remedy": error.remedy}
            _record(failure, snakemake.rule, log, error, facts)
            sys.exit(2)
        except Exception as error:
            _LOGGER.exception("unexpected %s", type(error).__name__)
            _record(failure, snakemake.rule, log, error, {"message": f"{type(error).__name__}: {error}"})
            sys.exit(1)
    failure.unlink(missing_ok=True)
    # What a batch noted of this folder is true no more; a batch itself notes its jobs afterwards.
    (folder / "batch.json").unlink(missing_ok=True)
    for rule in supersedes:
        for superseded in find_failures(folder, rule):
            superseded.unlink(missing_ok=True)


def image_of(snakemake: Any) -> Location:
    """Return where the image of a job lies: at its URL, which Snakemake does not look after, or its input file."""
    url = snakemake.params.url
    return RemoteLocation(url) if url else Path(snakemake.input.image)


def failure_file(folder: Path, rule: str, part: str) -> Path:
    """Return where a job of a rule notes its failure; `part` tells it from others there, and is empty for one alone."""
    return folder / (f"failure.{rule}.{part}.json" if part else f"failure.{rule}.json")


def find_failures(folder: Path, rule: str) -> list[Path]:
    """Return the failures that jobs of a rule left in a folder of results."""
    return sorted(folder.glob(f"failure.{rule}.json")) + sorted(folder.glob(f"failure.{rule}.*.json"))


def _record(path: Path, rule: str, log: Path, error: Exception, facts: dict[str, str]) -> None:
    try:
        write_json(path, {"rule": rule, "error": type(error).__name__, **facts, "log": str(log)})
    except OSError as unwritten:  # the disk that failed the step, as a rule
        _LOGGER.error("%s, which the report reads, could not be written: %s", path, unwritten)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Log to a file and to standard error, then as before: a batch has a log, and each of its jobs its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    root.handlers = [file, logging.StreamHandler()]
    for handler in root.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        file.close()
        root.handlers = handlers
        root.setLevel(level)
