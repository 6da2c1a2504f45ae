"""`snakemake --report`: Snakemake's own report, with the cohort's page, tables and figures in it."""

from typing import Any
from zipfile import ZipFile


def test_snakemakes_report_holds_the_page_the_table_and_the_figures_with_captions(finished: Any) -> None:
    told = finished.run("--report", "whole.zip")
    assert "downloading" not in told, "it was made without a network"
    cohort = finished.folder / "results" / "cohort"
    with ZipFile(finished.folder / "whole.zip") as archive:
        inside = {name.rsplit("/", 1)[-1]: name for name in archive.namelist() if "/data/" in name}
        assert set(inside) == {"report.html", "summary.tsv", "benchmarks.png", "evaluation.png"}
        for file, name in inside.items():
            assert archive.read(name) == (cohort / file).read_bytes()
        front = archive.read("whole/report.html").decode()
    for text in ("The cohort on one page", "A row for each image", "Average precision, TP", "Seconds and peak memory"):
        assert text in front
    assert "segmented, measured and judged by cohortseg" in front
