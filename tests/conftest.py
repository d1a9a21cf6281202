"""What all tests share."""

from __future__ import annotations

import os

# Before torch is imported, and for every process that a test starts: threads that share cores with other work wait
# for each other (test_endless took five times as long with two beside a busy machine).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
import threading
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine must not fail a property by being slow, and the same examples are tried in every run.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """For tests in whose process `main` sets up the logging of a process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hook, show = threading.excepthook, warnings.showwarning
    yield
    root.handlers[:], root.level = handlers, level
    threading.excepthook = hook
    logging.captureWarnings(False)
    warnings.showwarning = show
