"""slow.txt names tests that are there."""

import ast
from pathlib import Path

HERE = Path(__file__).parent


def test_every_line_names_a_test_that_stands_in_its_file():
    lines = (HERE / "slow.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line or line.startswith("#"):
            continue
        path, _, name = line.partition("::")
        tree = ast.parse((HERE.parent / path).read_text(encoding="utf-8"))
        tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        wanted, bracket, _ = name.partition("[")
        assert any(wanted == test if bracket else test.startswith(wanted) for test in tests), line
