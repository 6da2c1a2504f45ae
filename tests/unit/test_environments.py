"""The conda files, the container recipes and the profiles are complete, pinned, and agree with the lock file."""

import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "scripts" / "cohortseg"
ENVS = ROOT / "envs"
RULES = ROOT / "workflow" / "rules"

CONDA_NAMES = {
    "cv2": "py-opencv",
    "google_crc32c": "google-crc32c",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
    "yaml": "pyyaml",
}
PYPI_NAMES = {"py-opencv": "opencv-python-headless", "matplotlib-base": "matplotlib", "pytorch": "torch"}
BY_ANOTHER = {
    "pydantic_core": "pydantic",
}
"""Modules that come with another package."""

OPTIONAL = {"liffile", "nd2", "openslide", "pylibCZIrw"}
"""Readers that pyproject.toml has as an extra: an image that needs one says so."""

BY_NAME = {"s3fs"}
"""What no import names: fsspec loads it for s3:// images."""

NEVER_CALLED = {
    "cpu.yaml": {"torch", "cellpose", "openvino"},
    "exports.yaml": {"torch", "cellpose", "openvino"},
    "gpu.yaml": set(),
    "report.yaml": {"torch", "cellpose", "openvino", "aiohttp", "fsspec"},
}
"""What functions import that the rules of a conda file never call: networks, and images behind URLs."""


class Imports(ast.NodeVisitor):
    """Collects (module, name) of what is imported as a module is imported, and of what only later is."""

    def __init__(self) -> None:
        self.first: list[tuple[str, str | None]] = []
        self.later: list[tuple[str, str | None]] = []
        self.typing: list[tuple[str, str | None]] = []
        self._found = self.first

    def visit_Import(self, node: ast.Import) -> None:
        self._found += [(alias.name, None) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._found += [(str(node.module), alias.name) for alias in node.names]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._within(self.later, node)

    def visit_If(self, node: ast.If) -> None:
        typing = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        self._within(self.typing if typing else self._found, node)

    def _within(self, found: list[tuple[str, str | None]], node: ast.AST) -> None:
        before, self._found = self._found, found
        self.generic_visit(node)
        self._found = before


@cache
def imports_of(file: Path) -> Imports:
    visitor = Imports()
    visitor.visit(ast.parse(file.read_text()))
    return visitor


def file_of(module: str) -> Path | None:
    path = ROOT / "scripts" / Path(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def files_of(module: str, name: str | None) -> Iterator[Path]:
    """Yield the files that run when a name is imported from a module of the engine, lazy names of packages resolved."""
    parts = module.split(".")
    yield from (file for i in range(1, len(parts)) if (file := file_of(".".join(parts[:i]))))
    file = file_of(f"{module}.{name}") or file_of(module)
    assert file is not None, f"{module}.{name}"
    yield file
    if file == file_of(module) and file.name == "__init__.py":
        for origin, exported in imports_of(file).typing:
            if exported == name:
                yield from files_of(origin, name)


@cache
def needs(rule: str, *, later: bool) -> frozenset[str]:
    """Return the third-party modules that a rule's step imports at its start, or with all that functions import."""
    waiting, seen, found = list(files_of(f"cohortseg.steps.{rule}", None)), set(), set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for module, name in imports_of(file).first + (imports_of(file).later if later else []):
            if module.split(".")[0] == "cohortseg":
                waiting += files_of(module, name)
            else:
                found.add(module.split(".")[0])
    found = {BY_ANOTHER.get(module, module) for module in found}
    return frozenset(found - set(sys.stdlib_module_names))


@cache
def conda_packages(env: str) -> dict[str, str]:
    """Return the packages of a conda file and what follows each."""
    content = yaml.safe_load((ENVS / env).read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    return dict(re.fullmatch(r"([a-z0-9-]+) ?(.*)", line).groups() for line in content["dependencies"])  # type: ignore[union-attr]


@cache
def locked() -> dict[str, str]:
    lines = (ENVS / "requirements.lock").read_text().splitlines()
    found = (re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line) for line in lines if not line.startswith("#"))
    return {match[1].lower(): match[2] for match in found if match}


def rules_with_env() -> list[tuple[str, str]]:
    """Return (rule, conda file) of all rules that are no mere targets."""
    found = []
    for file in sorted(RULES.glob("*.smk")):
        for rule, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", file.read_text(), re.M | re.S):
            conda = re.search(r'conda:\n\s+"\.\./\.\./envs/(\S+)"', body)
            if "script:" in body:
                assert conda, f"rule {rule} has no conda file"
                found.append((rule, conda[1]))
    return found


RULES_WITH_ENV = rules_with_env()


@pytest.mark.parametrize(("rule", "env"), RULES_WITH_ENV)
def test_the_conda_file_of_a_rule_has_what_its_step_imports(rule: str, env: str) -> None:
    there = set(conda_packages(env))
    imported = {CONDA_NAMES.get(module, module) for module in needs(rule, later=False)}
    assert imported <= there, f"{rule} would not start with {env}"
    later = needs(rule, later=True) - OPTIONAL - NEVER_CALLED[env]
    assert {CONDA_NAMES.get(module, module) for module in later} <= there


@pytest.mark.parametrize("env", sorted({env for _, env in RULES_WITH_ENV}))
def test_a_conda_file_has_nothing_that_no_rule_imports(env: str) -> None:
    imported = {module for rule, file in RULES_WITH_ENV if file == env for module in needs(rule, later=True)}
    unused = set(conda_packages(env)) - {CONDA_NAMES.get(module, module) for module in imported | BY_NAME} - {"python"}
    assert unused == set()


@pytest.mark.parametrize("env", sorted(path.name for path in ENVS.glob("*.yaml")))
def test_conda_files_pin_the_minor_versions_of_the_lock_file(env: str) -> None:
    pins = conda_packages(env)
    assert pins.pop("python") == "=3.12"
    expected = {name: locked()[PYPI_NAMES.get(name, name)].split(".")[:2] for name in pins}
    assert pins == {name: f"={'.'.join(version)}" for name, version in expected.items()}


def test_the_lock_file_pins_everything_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(each for extra in extras for each in extra)]
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}
    assert names <= set(locked())


def docker_instructions() -> list[tuple[str, str]]:
    text = (ENVS / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]  # type: ignore[misc]


def make_installs() -> list[list[str]]:
    """Return what pip is told to install in the Makefile, but for what has no place in an image."""
    told = re.findall(r"-m pip install (.*)", (ROOT / "Makefile").read_text())
    apart = {"--quiet", "--disable-pip-version-check", "--editable"}
    return [[word for word in line.split() if word not in apart] for line in told]


def pip_installs(text: str) -> list[list[str]]:
    return [
        [word for word in shlex.split(line) if word != "--no-cache-dir"]
        for line in re.findall(r"pip install (.*?)(?:\s*&&|$)", text, re.M)
    ]


def test_the_dockerfile_copies_what_is_there_and_what_dockerignore_lets_through() -> None:
    sources = [source for what, rest in docker_instructions() if what == "COPY" for source in rest.split()[:-1]]
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {source.split("/")[0] for source in sources} <= let_through
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_containers_install_what_make_installs() -> None:
    dockers = pip_installs("\n".join(rest for what, rest in docker_instructions() if what == "RUN"))
    section = re.search(r"%post\n(.*?)(?=^%)", (ENVS / "cohortseg.def").read_text(), re.M | re.S)
    assert section is not None
    assert dockers == pip_installs(section[1]) == make_installs()


def test_both_containers_start_from_the_same_pinned_image() -> None:
    (docker,) = [rest for what, rest in docker_instructions() if what == "FROM"]
    apptainer = re.search(r"^From: (\S+)$", (ENVS / "cohortseg.def").read_text(), re.M)
    assert apptainer is not None
    assert docker == apptainer[1]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", docker)


def test_the_apptainer_recipe_has_known_sections_and_copies_what_is_there() -> None:
    text = (ENVS / "cohortseg.def").read_text()
    assert re.findall(r"^(%\w+)", text, re.M) == ["%help", "%files", "%post", "%environment", "%runscript"]
    assert text.startswith("Bootstrap: docker\nFrom: ")
    files = re.search(r"%files\n(.*?)(?=^%)", text, re.M | re.S)
    assert files is not None
    pairs = [line.split() for line in files[1].strip().splitlines()]
    assert [source for source, _ in pairs if not (ROOT / source).exists()] == []
    assert all(target == f"/opt/cohortseg/{source}" for source, target in pairs)


KUBERNETES_OPTIONS = {"kubernetes-namespace", "kubernetes-persistent-volumes", "kubernetes-service-account-name"}
"""Of a plugin that is not installed with the project; its version 0.5.1 knows them."""


@pytest.mark.parametrize("profile", sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml")))
def test_profiles_hold_options_that_snakemake_knows(profile: str) -> None:
    keys = set(yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text()))
    actions = get_argument_parser(profiles=[])._actions
    known = {option.removeprefix("--") for action in actions for option in action.option_strings}
    assert keys - known - KUBERNETES_OPTIONS == set()
