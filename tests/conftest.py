"""What all tests share."""

from __future__ import annotations

import os

# Before torch is imported, and for every process that a test starts: threads that share cores with other work wait
# for each other (test_endless took five times as long with two beside a busy machine).
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# A busy machine must not fail a property by being slow, and the same examples are tried in every run.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")
