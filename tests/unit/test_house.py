"""The house rules: who may import whom, one name per step, and how long things may be."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "scripts" / "cohortseg"

RANKS = {
    "errors": 0,
    "arrays": 0,
    "settings": 1,
    "kernels": 1,
    "tiling": 1,
    "synthetic": 1,
    "stores": 2,
    "shapes": 2,
    "networks": 2,
    "on_device": 2,
    "segment": 3,
    "stitch": 3,
    "quantify": 3,
    "train": 3,
    "evaluate": 3,
    "quality": 3,
    "exports": 3,
    "viewer": 4,
    "report": 4,
    "steps": 5,
    "api": 5,
    "cli_check": 6,
    "cli_evaluate": 6,
    "cli_export": 6,
    "cli_models": 6,
    "cli_view": 6,
    "cli": 7,
    "__init__": 8,
    "__main__": 8,
}
"""Imports go from a higher rank to a lower one, never between rooms of one rank."""

TORCH_ROOMS = {"networks", "on_device", "train"}
NEURAL_LIBRARIES = {"torch", "torchvision", "cellpose", "openvino"}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "core"}

MODULES = sorted(ENGINE.rglob("*.py"))
ADAPTERS = sorted((ROOT / "scripts").glob("*.py"))
RULES = sorted(
    path.stem for path in (ROOT / "workflow" / "rules").glob("*.smk") if path.stem not in {"common", "targets"}
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(module: Path) -> str:
    return module.relative_to(ENGINE).with_suffix("").parts[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything imported, `from a.b import c` as a.b.c."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from `def` to the end, the docstring apart."""
    assert function.end_lineno is not None
    docstring = function.body[0] if ast.get_docstring(function) else None
    spoken = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - spoken


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_go_strictly_downward(module: Path) -> None:
    room = room_of(module)
    others = {name.split(".")[1] for name in imported(ast.parse(module.read_text())) if name.startswith("cohortseg.")}
    others -= {"__version__"}  # a constant of the package itself, which imports its rooms lazily
    upward = sorted(other for other in others - {room} if RANKS[other] >= RANKS[room])
    assert not upward, f"{room} (rank {RANKS[room]}) imports {upward}"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_only_the_rooms_of_torch_import_neural_libraries(module: Path) -> None:
    tops = {name.split(".")[0] for name in imported(ast.parse(module.read_text()))}
    assert room_of(module) in TORCH_ROOMS or not tops & NEURAL_LIBRARIES


def test_everything_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["exports"], *extras["microscopes"], *extras["remote"]]
    declared = {re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in requirements}
    packages = {
        "yaml": "pyyaml",
        "cv2": "opencv-python-headless",
        "pydantic_core": "pydantic",
        "openslide": "openslide-python",
        "google_crc32c": "google-crc32c",
    }
    trees = (ast.parse(module.read_text()) for module in MODULES)
    tops = {name.split(".")[0] for tree in trees for name in imported(tree)} - set(sys.stdlib_module_names)
    assert {packages.get(top, top) for top in tops - {"cohortseg"}} <= declared


@pytest.mark.parametrize("room", sorted({room_of(module) for module in MODULES}))
def test_every_room_has_a_rank_and_a_telling_name(room: str) -> None:
    assert room in RANKS
    assert room not in FORBIDDEN_NAMES


@pytest.mark.parametrize("package", sorted({module.parent for module in MODULES}), ids=name_of)
def test_every_package_says_what_it_holds(package: Path) -> None:
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text()))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_modules_and_functions_are_short(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= 400
    for function in functions(ast.parse(text)):
        assert lines_of_code(function) <= 60, f"{function.name} is too long"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_functions_take_at_most_eight_parameters(module: Path) -> None:
    for function in functions(ast.parse(module.read_text())):
        if room_of(module) == "cli" or (room_of(module) == "kernels" and function.name.startswith("_")):
            continue  # a command has its options as parameters; compiled code takes arrays and numbers
        arguments = function.args
        names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
        assert len([name for name in names if name not in {"self", "cls"}]) <= 8, f"{function.name} takes {names}"


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
def test_adapters_hold_one_import_and_one_call(adapter: Path) -> None:
    text = adapter.read_text()
    tree = ast.parse(text)
    docstring, imports, call = tree.body
    assert len(text.splitlines()) <= 25
    assert ast.get_docstring(tree)
    assert isinstance(docstring, ast.Expr)
    assert ast.unparse(imports) == f"from cohortseg.steps.{adapter.stem} import main"
    assert ast.unparse(call) == "main(snakemake)"


def test_every_adapter_belongs_to_a_rule() -> None:
    assert [adapter.stem for adapter in ADAPTERS] == RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_step_has_one_name_everywhere(rule: str) -> None:
    rules = (ROOT / "workflow" / "rules" / f"{rule}.smk").read_text()
    assert f"\nrule {rule}:\n" in rules
    assert f'"../../scripts/{rule}.py"' in rules
    assert f'include: "rules/{rule}.smk"' in (ROOT / "workflow" / "Snakefile").read_text()
    assert (ENGINE / "steps" / f"{rule}.py").is_file()
    assert (ROOT / "tests" / "steps" / f"test_{rule}.py").is_file()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_logs_measures_and_carries_the_results_version(rule: str) -> None:
    rules = (ROOT / "workflow" / "rules" / f"{rule}.smk").read_text()
    for part in ("log:", "benchmark:", "results_version=VERSION", "threads:", "mem_mb=", "runtime=", "conda:"):
        assert part in rules


def test_the_snakefile_fits_on_a_page() -> None:
    assert len((ROOT / "workflow" / "Snakefile").read_text().splitlines()) <= 60
