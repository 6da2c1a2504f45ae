"""Generator of everything that is written from the settings: `python -m cohortseg.settings.schema ROOT`.

It writes workflow/schemas/config.schema.yaml, workflow/schemas/samples.schema.yaml and the tables in
config/README.md below ROOT, the project's folder. A test fails where they are out of step with the models.
"""

import sys
from pathlib import Path

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cohortseg.settings.models import Settings
from cohortseg.settings.sheet import SheetColumns
from cohortseg.settings.training import TrainSettings
from cohortseg.settings.training_sheet import TrainingColumns

_HEADER = "# Generated from scripts/cohortseg/settings by `make schemas`; do not edit.\n"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def generate(readme: str) -> dict[str, str]:
    """Return the text of each generated file by its path in the project.

    Parameters
    ----------
    readme
        The present config/README.md; what stands between the markers `<!-- table: ... -->` and
        `<!-- end -->` is replaced.
    """
    tables = {
        "config": _config_table(Settings),
        "samples": _sheet_table(),
        "training": _config_table(TrainSettings),
        "training sheet": _training_sheet_table(),
    }
    for name, table in tables.items():
        readme = between_markers(readme, name, table)
    return {
        "workflow/schemas/config.schema.yaml": _schema(Settings),
        "workflow/schemas/samples.schema.yaml": _schema(SheetColumns),
        "config/README.md": readme,
    }


def between_markers(readme: str, name: str, table: str) -> str:
    """Return a text with what stands between `<!-- table: name -->` and the next `<!-- end -->` replaced."""
    begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    head, found, tail = readme.partition(begin)
    return f"{head}{begin}{table}{end}{tail.partition(end)[2]}" if found else readme


def _schema(model: type[BaseModel]) -> str:
    schema = {"$schema": _DRAFT, **model.model_json_schema()}
    return _HEADER + yaml.safe_dump(schema, sort_keys=False, allow_unicode=True, width=120)


def _config_table(model: type[BaseModel], prefix: str = "") -> str:
    lines = ["| key | default | unit | meaning |\n|---|---|---|---|\n"] if not prefix else []
    nested = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nested.append(_config_table(field.annotation, f"{prefix}{name}."))
        else:
            default = yaml.safe_dump(field.default, allow_unicode=True, default_flow_style=True, width=1000)
            default = default.split("\n")[0]
            lines.append(f"| `{prefix}{name}` | `{default}` | {_unit(field)} | {_meaning(field)} |\n")
    return "".join(lines + nested)


def _meaning(field: FieldInfo) -> str:
    """Return a field's description as a cell of a Markdown table."""
    return str(field.description).replace("|", r"\|")


def _unit(field: FieldInfo | None) -> str:
    extra = field.json_schema_extra if field else None
    return str(extra["unit"]) if isinstance(extra, dict) else ""


def _sheet_table() -> str:
    lines = ["| column | needed | unit | meaning |\n|---|---|---|---|\n"]
    for name, field in SheetColumns.model_fields.items():
        needed = "yes" if field.is_required() else ""
        lines.append(f"| `{name}` | {needed} | {_unit(Settings.model_fields.get(name))} | {_meaning(field)} |\n")
    return "".join(lines)


def _training_sheet_table() -> str:
    rows = (f"| `{name}` | {_meaning(field)} |\n" for name, field in TrainingColumns.model_fields.items())
    return "".join(["| column | meaning |\n|---|---|\n", *rows])


def main(root: Path) -> None:
    """Write the generated files below the project's folder."""
    for name, text in generate((root / "config" / "README.md").read_text(encoding="utf-8")).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
