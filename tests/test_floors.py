"""The order of the packages: no module imports in a circle, none from a floor above its own."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxcbm"
# Ground first. Modules of the package's own folder that import nothing above them count as ground.
FLOORS = (
    ("errors", "lines"),
    (
        "atomic",
        "charts",
        "code_version",
        "csv_text",
        "described_tensors",
        "extras",
        "flat_params",
        "hub",
        "json_text",
        "machine_load",
        "memory_limits",
        "ordinary_file",
        "pages",
        "palette",
        "sealed_json",
        "storage",
        "text_file",
        "typed_json",
    ),
    ("bottleneck", "distributed"),
    ("encoders",),
    ("data",),
    ("concepts", "baselines"),
    ("model",),
    ("training", "evaluation", "explore"),
    ("experiment",),
    ("report", "planning", "serve"),
    ("commands",),
    ("cli",),
)
# Whoever imports the package itself asks for its version or its public names.
FRONT = "jaxcbm"


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file imports anywhere, except for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    named = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {home for name in named if (home := longest_known(name, known)) not in ("", FRONT)}


def longest_known(name: str, known: set[str]) -> str:
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(path, set(known)) - {name} for name, path in known.items()}


def floor_of(module: str) -> int:
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_every_module_stands_on_a_floor(graph):
    rooms = {room for rooms in FLOORS for room in rooms}
    lost = {name for name in graph if name != FRONT and name.split(".")[1] not in rooms}
    assert not lost - {"jaxcbm.__main__"}, "name the floor of a new package in FLOORS"


def test_nothing_is_imported_from_a_higher_floor(graph):
    upwards = [
        f"{name} imports {target}"
        for name, targets in graph.items()
        if name not in (FRONT, "jaxcbm.__main__")
        for target in targets
        if floor_of(target) > floor_of(name)
    ]
    assert not upwards


def test_rooms_of_one_floor_import_each_other_one_way_at_most(graph):
    edges = {
        (name.split(".")[1], target.split(".")[1])
        for name, targets in graph.items()
        if name.count(".")
        for target in targets
    }
    assert not {pair for pair in edges if pair[0] < pair[1] and pair[::-1] in edges}


def test_no_circle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports run in a circle: {' -> '.join(error.args[1])}")


def test_planning_and_report_serve_commands_alone(graph):
    outside = {
        f"{name} imports {target}"
        for name, targets in graph.items()
        for target in targets
        if (room := target.split(".")[1]) in ("planning", "report")
        and name.count(".")
        and name.split(".")[1] not in (room, "commands")
    }
    assert not outside
