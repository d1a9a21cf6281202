"""Nothing that is read is executed: what the linter's rules (pyproject.toml, S) do not see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOADS = {"torch.load", "np.load", "numpy.load"}


PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas"}


@cache
def modules() -> list[tuple[Path, ast.Module]]:
    """Every file of the two packages."""
    files = [path for package in ("stream", "syncvis_online") for path in (ROOT / package).rglob("*.py")]
    return [(path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the two packages, as file:line and the call."""
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                yield f"{path}:{node.lineno}", node


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


def test_pickles_are_read_in_one_place_by_an_unpickler_that_refuses_names() -> None:
    users = set()
    for path, module in modules():
        for node in ast.walk(module):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if PICKLES & {name.split(".")[0] for name in names}:
                users.add(str(path))
    assert users == {"syncvis_online/conversion/files.py"}  # test_conversion.py feeds it a bomb
