"""Every mistake in a config is one line that names the file, the place and the mistake, and shows no
secret.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stream.camera_config import CameraConfig
from stream.config import load_config, parse_config
from stream.errors import ConfigError
from syncvis_online.paths import find_config

no_deadline = hypothesis_settings(deadline=None)  # a busy machine is no failure

CAMERA = "cameras:\n  yard:\n    url: synthetic:7\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "serve.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_minimal_config_has_safe_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, CAMERA))
    assert config.cameras["yard"].url == "synthetic:7"
    assert config.server.host == "127.0.0.1"
    assert config.model.name == "default"
    with pytest.raises(ValidationError, match="frozen"):
        config.server.port = 1


@pytest.mark.parametrize("name", ["demo", "example"])
def test_the_configs_that_ship_are_valid(name: str) -> None:
    assert load_config(find_config("cameras", name), {"CAMERA_PASSWORD": "x"}).cameras


MISTAKES = {
    "unknown key": ("camera:\n  yard: {}\n" + CAMERA, ["camera: unknown key"]),
    "unknown key below": (CAMERA + "    urll: x\n", ["cameras.yard.urll: unknown key"]),
    "wrong type": (CAMERA + "server:\n  port: high\n", ["server.port:", "integer"]),
    "out of range": (CAMERA + "server:\n  port: 70000\n", ["server.port:", "65535"]),
    "wrong word": (CAMERA + "    transport: carrier\n", ["cameras.yard.transport:", "'tcp' or 'udp'"]),
    "missing key": ("cameras:\n  yard:\n    transport: tcp\n", ["cameras.yard.url: this key is required"]),
    "no cameras": ("cameras: {}\n", ["cameras:", "at least 1"]),
    "camera name": ("cameras:\n  a/b:\n    url: x\n", ["cameras.a/b: a name is"]),
    "a number as a name": ("cameras:\n  1:\n    url: x\n", ["cameras.1: a key is a text"]),
    "a number as a key": (CAMERA + "1: x\n", ["1: a key is a text"]),
    "itself": ("cameras: &a\n  yard: *a\n", ["an alias refers to itself"]),
    "not set": ("cameras:\n  a:\n    url: ${NOT_SET}\n", ["cameras.a.url: ", "NOT_SET is not set"]),
    "not YAML": ("cameras:\n  yard: [1, 2\n", ["line 3:"]),
    "a tab": ("cameras:\n\tyard: 1\n", ["line 2:"]),
    "twice": (CAMERA + "  yard:\n    url: other\n", ["line 4:", "'yard' is there twice"]),
    "a topic": (CAMERA + "mqtt: {host: a, topic_prefix: a/#}\n", ["mqtt.topic_prefix:"]),
    "half a login": (CAMERA + "mqtt: {host: a, password: x}\n", ["mqtt:", "a password needs a username"]),
    "a list": ("- 1\n", ["expected keys"]),
    "empty": ("", ["expected keys"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_and_place(mistake: str, tmp_path: Path) -> None:
    text, expected = MISTAKES[mistake]
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(path, {})
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.yaml")


def test_a_wrong_value_is_not_repeated(tmp_path: Path) -> None:
    text = CAMERA + "    open_timeout_s: ${SECRET}\n"
    with pytest.raises(ConfigError, match="open_timeout_s") as error:
        load_config(write(tmp_path, text), {"SECRET": "hunter2"})
    assert "hunter2" not in str(error.value)


def test_secrets_come_from_the_environment(tmp_path: Path) -> None:
    text = "cameras:\n  a:\n    url: rtsp://me:${PW}@${HOST}/${PATH_}\n"
    environ = {"PW": "p@ss/wo:rd", "HOST": "cam:8554", "PATH_": "a/b"}
    config = load_config(write(tmp_path, text), environ)
    assert config.cameras["a"].url == "rtsp://me:p%40ss%2Fwo%3Ard@cam:8554/a/b"


@no_deadline
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_nonsense_is_a_config_error(value: object) -> None:
    camera = {"a": {"url": "x"}}
    for data in ({"cameras": value}, {"cameras": {"a": value}}, {"cameras": camera, "model": value}):
        with pytest.raises(ConfigError) as error:
            parse_config(data, "test")
        assert "\n" not in str(error.value)


@no_deadline
@given(st.text(min_size=1))
def test_any_key_is_reported_in_one_line(key: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({"cameras": {key: {}}}, "test")
    assert len(str(error.value).splitlines()) == 1


def test_the_example_shows_every_key_with_its_default() -> None:
    path = Path(__file__).parents[2] / "configs" / "cameras" / "example.yaml"
    shown = yaml.safe_load(path.read_text())
    parsed = load_config(path, {"CAMERA_PASSWORD": "x"})
    sections = [
        (shown["model"], parsed.model),
        (shown["pipeline"], parsed.pipeline),
        (shown["server"], parsed.server),
        (shown["server"]["webrtc"], parsed.server.webrtc),
        (shown["server"]["limits"], parsed.server.limits),
        (shown["log"], parsed.log),
    ]
    for keys, section in sections:
        assert set(keys) == set(type(section).model_fields)
        assert section == type(section)()
    cameras = set().union(*shown["cameras"].values())
    assert cameras == set(CameraConfig.model_fields)


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs" / "cameras").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_configs_that_ship_can_be_read(path: Path) -> None:
    assert load_config(path, {"CAMERA_PASSWORD": "x"}).cameras


def test_the_example_of_the_docs_can_be_read_and_is_the_config_that_ships() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "zones.md").read_text(), re.DOTALL)
    (shown,) = parse_config(yaml.safe_load(text), "docs").cameras.values()
    (ships,) = load_config(ROOT / "configs" / "cameras" / "zones.yaml").cameras.values()
    assert set(shown.zones) == set(ships.zones)
    assert set(shown.lines) == set(ships.lines)
    assert shown.blur == ships.blur
