"""What `cohortseg check` does: the verdicts of a cohort's summary, for people and for scripts that go on from there."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cohortseg.errors import MissingFileError
from cohortseg.stores.geoparquet_file import missing_columns
from cohortseg.stores.tables import read_tsv

VERDICTS = ("failed", "missing", "look", "ok")
"""What the column `verdict` of summary.tsv says of a sample, the worst first."""


@dataclass(frozen=True)
class Checked:
    """The verdict of each sample, in the order of the summary, and what looks wrong with it, in words or empty."""

    samples: tuple[str, ...]
    verdicts: tuple[str, ...]
    warnings: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield what is to be said: the samples that are not ok, the worst verdict first, then how many have which."""
        for verdict in VERDICTS[:-1]:
            for sample, own, text in zip(self.samples, self.verdicts, self.warnings, strict=True):
                if own == verdict:
                    yield f"{verdict}\t{sample}\t{text}" if text else f"{verdict}\t{sample}"
        counts = Counter(self.verdicts)
        yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in reversed(VERDICTS))

    def passes(self, *, strict: bool) -> bool:
        """Tell whether all samples are done; with `strict` also that none deserves a look."""
        good = {"ok"} if strict else {"ok", "look"}
        return good.issuperset(self.verdicts)


def check_results(results: Path) -> Checked:
    """Read the verdicts of a folder of results.

    Raises
    ------
    MissingFileError
        It has no summary.
    TableError
        The summary is damaged, or of a version that gave no verdicts.
    """
    path = results / "cohort" / "summary.tsv"
    if not path.is_file():
        raise MissingFileError(
            f"{path} does not exist",
            "expected the folder of a workflow's results, with the summary of its cohort",
            "Correct the path, or make the summary: `snakemake report`.",
        )
    table = read_tsv(path)
    absent = [name for name in ("sample", "verdict", "warnings") if name not in table.columns]
    if absent:
        raise missing_columns(path.name, absent, list(table.columns))
    return Checked(*(tuple(table[name]) for name in ("sample", "verdict", "warnings")))
