"""Where the configs that ship are found: `configs/` of a checkout, or the copy inside an installed wheel."""

from __future__ import annotations

from pathlib import Path

from syncvis_online.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent
CONFIG_ROOTS = (_PACKAGE.parent / "configs", _PACKAGE / "_configs")


def find_config(kind: str, name: str) -> Path:
    """The path of `configs/<kind>/<name>.yaml`, or of `name` itself if that is a YAML file that exists.

    Raises ConfigError naming what exists when there is no such config.
    """
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    known: set[str] = set()
    for root in CONFIG_ROOTS:
        candidate = root / kind / f"{name}.yaml"
        if candidate.is_file():
            return candidate
        folder = root / kind
        known.update(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))
    raise ConfigError(f"no {kind} config named '{name}' (there are: {', '.join(sorted(known)) or 'none'})")
