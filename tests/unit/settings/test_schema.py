"""What is generated from the settings is in step with them, and says the same."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cohortseg.settings import load_settings
from cohortseg.settings.schema import generate, main

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "name", ["workflow/schemas/config.schema.yaml", "workflow/schemas/samples.schema.yaml", "config/README.md"]
)
def test_generated_files_are_in_sync(name: str) -> None:
    generated = generate((ROOT / "config" / "README.md").read_text(encoding="utf-8"))
    assert (ROOT / name).read_text(encoding="utf-8") == generated[name], "out of sync: run `make schemas`"


def test_the_generator_writes_below_the_folder_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "README.md").write_text("<!-- table: config -->\nstale\n<!-- end -->\n", encoding="utf-8")
    main(tmp_path)
    text = (tmp_path / "config" / "README.md").read_text(encoding="utf-8")
    assert "stale" not in text
    assert "| `pipeline.infer_size` | `1024` | px |" in text
    assert (tmp_path / "workflow" / "schemas" / "samples.schema.yaml").is_file()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(generate("")["workflow/schemas/config.schema.yaml"])
    return loaded


@pytest.mark.parametrize("config", [{}, {"channels": ["DAPI", 1]}, {"diameter": 30, "pipeline": {"infer_size": 512}}])
def test_the_schema_accepts_what_the_settings_accept(schema: dict[str, Any], config: dict[str, object]) -> None:
    load_settings(config)
    jsonschema.validate(config, schema)


@pytest.mark.parametrize(
    "config", [{"foo": 1}, {"device": "gpu"}, {"pipeline": {"infer_size": 1000}}, {"channels": []}]
)
def test_the_schema_refuses_what_the_settings_refuse(schema: dict[str, Any], config: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, schema)


@pytest.mark.parametrize("name", ["config.yaml", "vizgen.yaml"])
def test_shipped_configs_are_valid(name: str) -> None:
    load_settings(yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")))


def test_every_setting_has_a_description() -> None:
    table = generate("<!-- table: config -->\n<!-- end -->")["config/README.md"]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert all(len(row[-1]) > 15 for row in rows)
