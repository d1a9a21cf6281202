"""What all tests share."""

from __future__ import annotations

import os

# Before torch is imported, and for every process that a test starts: threads that share cores with other work wait
# for each other (test_endless took five times as long with two beside a busy machine).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from stream.log import LogHandler

# A busy machine must not fail a property by being slow, and the same examples are tried in every run.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

# What a shell starts in the background ignores interrupts, and so does all that it starts: tests interrupt programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST_FIRST = (
    *("syncvis_online/test_training.py", "integration/test_soak.py", "syncvis_online/test_conversion.py"),
    *("integration/test_cluster.py", "syncvis_online/test_openvino.py", "integration/test_faults.py"),
    *("integration/test_cluster_autoscaled.py", "integration/test_cluster_changes.py"),
    *("integration/test_tracing.py", "integration/test_identities_restart.py"),
    *("stream/test_cameras_stress.py", "browser/test_viewer_proof.py", "browser/test_masks_exact.py"),
    *("browser/test_viewer_recovery.py", "browser/test_viewer_fallback.py"),
)
"""Files that take half a minute and more: one of them begun last would have one process wait for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files be begun first (pytest-xdist would begin with those of most tests)."""
    files = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: files.get(item.path, len(files)))


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """For tests in whose process `main` sets up the logging of a process: as if none before had done so, whose handler
    would say first how often it was told the same.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler for handler in handlers if not isinstance(handler, LogHandler)]
    hook, show = threading.excepthook, warnings.showwarning
    yield
    root.handlers[:], root.level = handlers, level
    threading.excepthook = hook
    logging.captureWarnings(False)
    warnings.showwarning = show
