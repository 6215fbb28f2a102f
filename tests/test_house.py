"""The house keeps its own rules: names, the map in the README, help, imports, first words of files.

Reads the sources as text wherever that is enough; opens no model.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from baco_cli.app import COMMANDS, app

ROOT = Path(__file__).parents[1]
PACKAGES = {"baco_local": ROOT / "baco_local", "baco_cli": ROOT / "cli" / "baco_cli"}
TEXTS = {".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".svg", ".gbnf", ".sh", ""}


def sources(*folders: Path) -> Iterator[Path]:
    """Yield the Python files under some folders that are not empty."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*.py")) if path.stat().st_size)


def module_name(path: Path) -> str:
    """Return the dotted name under which a file of the two packages is imported."""
    package, folder = next((p, f) for p, f in PACKAGES.items() if path.is_relative_to(f))
    parts = (package, *path.relative_to(folder).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


ROOMS = [path for folder in PACKAGES.values() for path in folder.glob("*/**/__init__.py")]
MODULES = {module_name(path): path for path in sources(*PACKAGES.values()) if path not in ROOMS}


@pytest.mark.parametrize("name", MODULES)
def test_all_is_true(name: str) -> None:
    """A module says in ``__all__`` which of its names are for others, and has each of them."""
    module = importlib.import_module(name)
    assert module.__all__
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_modules_import_public_names_alone() -> None:
    """What one module takes from another stands in the other's ``__all__``; tests may look deeper."""
    undeclared = {
        f"{path.relative_to(ROOT)} takes {name} from {target}"
        for path in sources(*PACKAGES.values(), ROOT / "scripts")
        for target, name in _taken(path)
        if target in MODULES and f"{target}.{name}" not in MODULES and name not in _all_of(MODULES[target])
    }
    assert sorted(undeclared) == []


def test_api_page_names_the_public_surface() -> None:
    """Every name that ``import baco_local`` offers is met in docs/python-api.md."""
    words = set(re.findall(r"\w+", (ROOT / "docs" / "python-api.md").read_text("utf-8")))
    assert [name for name in importlib.import_module("baco_local").__all__ if name not in words] == []


def _taken(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for every ``from module import name`` of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def _all_of(path: Path) -> list[str]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


def test_rooms_export_nothing() -> None:
    """A room's ``__init__.py`` holds no code: names are imported from where they live."""
    assert ROOMS
    bodies = {path: ast.parse(path.read_text("utf-8")).body for path in ROOMS}
    assert [str(path.relative_to(ROOT)) for path, body in bodies.items() if _is_code(body)] == []


def _is_code(body: list[ast.stmt]) -> bool:
    return any(not isinstance(node, ast.Expr) for node in body)


def test_files_open_with_a_docstring() -> None:
    """Every file of the program and the scripts says first what it does."""
    program = sources(*PACKAGES.values(), ROOT / "scripts")
    silent = [path for path in program if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_readme_maps_the_house() -> None:
    """The tree in the README names each file of the program and the scripts, and only what is there, with a purpose."""
    drawn = dict(_readme_tree())
    assert [path for path in drawn if not (ROOT / path).exists()] == []
    assert [path for path, purpose in drawn.items() if not purpose and path not in ("scripts/", "docs/")] == []
    files = [path for path in sources(*PACKAGES.values(), ROOT / "scripts") if path.name != "__init__.py"]
    files += [path for folder in ("scripts", "docs") for path in (ROOT / folder).iterdir() if path.is_file()]
    assert sorted({path.relative_to(ROOT).as_posix() for path in files} - drawn.keys()) == []


def _readme_tree() -> Iterator[tuple[str, str]]:
    """Yield (path, purpose) for each line of the tree; two spaces of indentation are one level."""
    block = re.search(r"```text\nREADME\.md.*?```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block, "the README has no block that opens with ```text and README.md"
    above: list[str] = []
    for line in block[0].splitlines()[1:-1]:
        indent, names, purpose = re.fullmatch(r"( *)(\S+(?: \S+)*)(?: {2,}(.*))?", line).groups()  # type: ignore[union-attr]
        above = above[: len(indent) // 2]
        for name in names.split(" "):
            yield "".join([*above, name]), purpose or ""
        if name.endswith("/"):
            above.append(name)


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command of baco with its full name, groups included."""
    waiting: list[tuple[str, Any]] = [("baco", typer.main.get_command(app))]
    waiting += [(f"baco {name}", place.load(name)) for name, place in COMMANDS.items()]
    while waiting:
        name, command = waiting.pop()
        yield name, command
        waiting += [(f"{name} {sub}", found) for sub, found in getattr(command, "commands", {}).items()]


def test_every_command_and_option_has_help() -> None:
    """No command, argument or option leaves the reader to guess."""
    silent = [name for name, command in commands() if not command.help]
    silent += [
        f"{name} {parameter.human_readable_name}"
        for name, command in commands()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


def test_readme_names_every_command() -> None:
    """Somebody who reads the README has met each command."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name, _ in commands() if f"{name} " not in readme and f"{name}`" not in readme] == []


def test_help_loads_nothing_heavy() -> None:
    """``baco --help`` starts no llama.cpp and nothing else that only a decode or a chat needs."""
    code = """if True:
        import json, sys
        from baco_cli.app import main
        sys.argv = ["baco", "--help"]
        try:
            main()
        except SystemExit:
            pass
        print(json.dumps(sorted(sys.modules)), file=sys.stderr)
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "--version" in ran.stdout
    loaded = {name.partition(".")[0] for name in json.loads(ran.stderr.splitlines()[-1])}
    assert loaded & {"llama_cpp", "prompt_toolkit", "torch", "gguf", "tokenizers"} == set()


def test_import_contracts_hold() -> None:
    """Imports point down, and llama.cpp is spoken in two files."""
    lint_imports = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert lint_imports, "lint-imports is part of the dev extra: pip install --editable '.[dev]'"
    ran = subprocess.run(
        [lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_file_knows_this_machine() -> None:
    """No file of the repository names a path of somebody's machine or the host of a package registry."""
    private = re.compile(
        r"(?<![\w.])/(?:work|root|home|Users)/\w|/opt/(?:wheels|pypi)\b|files\.pythonhosted|pypi\.org/simple"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _repository_texts()
        if (match := private.search(path.read_text("utf-8")))
    ]
    assert found == []


def _repository_texts() -> Iterator[Path]:
    """Yield the text files of the folders that belong to the repository."""
    roots = [ROOT / name for name in (".ci", "cli", "docs", "baco_local", "models", "scripts", "tests")]
    for path in [*ROOT.iterdir(), *(path for root in roots for path in root.rglob("*"))]:
        if path.is_file() and path.suffix in TEXTS and path.stat().st_size < 1_000_000:
            yield path


def test_version_stands_once() -> None:
    """The changelog's newest entry is the version of the package."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == version
