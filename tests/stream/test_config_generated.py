"""Whatever a config file holds, it is read, or refused in one line that repeats nothing: never a defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stream.camera_hosts import CameraHosts
from stream.config import ServeConfig, load_config, parse_config
from stream.errors import ConfigError
from stream.sources.urls import mask_url, parse_address, scrub
from stream.webrtc.trickle import FragmentError, parse_fragment

SIGNS = st.characters(exclude_categories=["Cs"])
one_file = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


def keys_of(model: Any) -> list[str]:
    return list(model.model_fields)


NAMES = sorted(
    {
        *keys_of(ServeConfig),
        *(
            key
            for section in ("model", "pipeline", "server", "log")
            for key in keys_of(ServeConfig.model_fields[section].annotation)
        ),
    }
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(SIGNS, max_size=12) | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | SCALARS, inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
SECTIONS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)


def refusal_of(error: type[Exception], read: Callable[..., Any], *given: Any) -> str | None:
    """With which words it is refused, which must be one line; None where it is taken. Nothing else is raised."""
    try:
        read(*given)
    except error as refused:
        words = str(refused)
    else:
        return None
    assert len(words.splitlines()) == 1
    return words


@one_file
@given(text=st.text(SIGNS, max_size=200))
@example(text="a: 2026-99-99")
@example(text="a: !!int x")
@example(text="a: !!int ''")
@example(text="a: " + "9" * 5000)
@example(text="[" * 3000)
@example(text="a: &a [*a]")
@example(text="? [x]\n: y")
@example(text="a: !!python/object/apply:os.system ['true']")
def test_any_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_bytes(text.encode())
    assert str(path) in str(refusal_of(ConfigError, load_config, path, {}))


@one_file
@given(data=SECTIONS)
def test_any_settings(data: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump({"cameras": {"a": {"url": "synthetic:1"}}} | data), encoding="utf-8")
    words = refusal_of(ConfigError, load_config, path, {})
    if words is None:
        config = load_config(path, {})
        assert parse_config(config.model_dump(), "again") == config
    else:
        assert str(path) in words


@given(st.text(SIGNS, max_size=80))
@example(text="rtsp://[")
@example(text="synthetic:1?size=x")
@example("rtsp://a:b@[::1")
def test_any_address(text: str) -> None:
    for read in (parse_address, CameraHosts().check_url):
        refusal_of(ConfigError, read, text)
    assert mask_url(mask_url(text)) == mask_url(text)
    assert len(scrub(text, text).splitlines()) <= 1


@given(st.text(SIGNS, max_size=30))
@example(text="10.0.0.0/99")
@example(".")
def test_any_rule_of_hosts(text: str) -> None:
    assert "a host's name" in (refusal_of(ValueError, CameraHosts, [text]) or "a host's name")


LINES = ("a=candidate:", "a=mid:0", "m=video", "a=ice-ufrag:x", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host")


@given(st.lists(st.sampled_from(LINES) | st.text(SIGNS, max_size=20), max_size=8))
def test_any_fragment(lines: list[str]) -> None:
    refusal_of(FragmentError, parse_fragment, "\r\n".join(lines))


def test_what_a_value_says_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    for text in ("password: *hunter2", "password: !hunter2 x", "password: &hunter2 [x, &hunter2 y]: z"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="line 1") as refused:
            load_config(path)
        assert "hunter2" not in str(refused.value)
