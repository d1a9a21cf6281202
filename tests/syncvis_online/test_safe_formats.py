"""Nothing that is read is executed: what the linter's rules (pyproject.toml, S) do not see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADS = {"torch.load", "np.load", "numpy.load"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the two packages, as file:line and the call."""
    for package in ("stream", "syncvis_online"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_tensors_are_loaded_without_code() -> None:
    found = 0
    for where, call in calls():
        name = ast.unparse(call.func)
        if name not in LOADS:
            continue
        found += 1
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load":
            assert given.get("weights_only") == "True", where
        else:
            assert given.get("allow_pickle", "False") == "False", where
    assert found >= 2
