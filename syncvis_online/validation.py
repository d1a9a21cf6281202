"""How configs are read and checked: YAML with every key once, values of exactly the declared type.

Owns the wording of what is wrong: one line that names the file, the line or the key. Values are never repeated
in messages, they may be secrets. Knows no config.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from syncvis_online.errors import ConfigError

T = TypeVar("T")

_NAMED = re.compile(r"(?s)(alias|anchor|tag|handle) ['\"].*['\"]")
"""What PyYAML repeats of a value: a password that begins with * or ! is an alias or a tag to it."""

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""For `__pydantic_config__` of a dataclass that `validated` builds: no conversions (True is no number, 2.0 is not
2), no unknown keys, nothing infinite."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but a key that is there twice is an error, not a silent loss of the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{name}' is there twice", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> dict[Any, Any]:
    """The mapping that a YAML file in UTF-8 holds. Raises ConfigError that names the file and the line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read config {path}: not a text file in UTF-8") from error
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark is not None else ""
        problem = _NAMED.sub(r"\1", getattr(error, "problem", None) or "not YAML")
        raise ConfigError(f"{path}:{line} {problem}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except (ValueError, LookupError, TypeError) as error:  # from PyYAML's constructors: 2026-99-99, !!int x
        raise ConfigError(f"{path}: a date or a number that is none: put it in quotes") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and their values at the top")
    return data


def require(condition: bool, message: str) -> None:
    """For `__post_init__`: raise ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def validated(kind: type[T], values: Any, where: str) -> T:
    """A dataclass (with STRICT as its `__pydantic_config__`) of plain values.

    Raises ConfigError, in one line that begins with `where`, for unknown and missing keys, values of another
    type, and whatever `__post_init__` refuses with a ValueError.
    """
    # By way of JSON, in which lists stand for tuples and mappings for dataclasses also where types are strict. What
    # JSON has no form for (dates) becomes a text, and is refused as one.
    document = json.dumps(values, default=str)
    try:
        return TypeAdapter(kind).validate_json(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_problems(error, 1)[0]}") from error


def first_problems(error: ValidationError, count: int) -> list[str]:
    """What is wrong, each in a line that begins with the key."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return [_say(problem) for problem in problems[:count]]


def _say(problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    key = "".join(sign if sign.isprintable() else "?" for sign in key)
    kind = problem["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: unknown key"
    if kind in ("missing", "missing_argument"):
        return f"{key}: this key is required"
    if kind == "invalid_key" or ("[key]" in problem["loc"] and kind == "string_type"):
        return f"{key}: a key is a text: put it in quotes"
    if kind in ("dataclass_type", "dataclass_exact_type"):
        return f"{key}: expected keys and their values" if key else "expected keys and their values"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}" if key else message
