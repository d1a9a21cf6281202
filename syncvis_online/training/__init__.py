"""Training: `train_from_config` is the whole of it for callers; see `config.py` for what can be said."""

from __future__ import annotations

from syncvis_online.training.loop import train_from_config

__all__ = ["train_from_config"]
