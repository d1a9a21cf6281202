"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# A busy machine must not fail a property by being slow, and the same examples are tried in every run.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")
