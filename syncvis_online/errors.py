"""The root of every error that this project raises on purpose, and those of the model side."""

from __future__ import annotations


class SyncVISError(Exception):
    """An error with a message meant for the person at the keyboard: one line, what and where."""


class ConfigError(SyncVISError):
    """A config file, key, value or command-line argument is wrong."""


class ModelError(SyncVISError):
    """A checkpoint is missing, damaged, or does not fit the model."""


class DataError(SyncVISError):
    """A data set or annotation file is missing or damaged; names the file and the entry."""
