"""Training: `train_from_config` is the whole of it for callers; see `config.py` for what can be said.

It is looked up when first used: processes that render videos ahead import this package too, and need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncvis_online.training.loop import train_from_config

__all__ = ["train_from_config"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from syncvis_online.training import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
