"""A cluster runs one config: what a worker has of it, and which others are refused."""

from __future__ import annotations

from typing import Any

import pytest

from stream.cluster.spec import Spec
from stream.config import ServeConfig, parse_config
from stream.errors import ConfigError
from stream.tokens import hashed

SECRET = "0123456789abcdef-secret"
VIEW = "0123456789abcdef-viewer"
ADMIN = "0123456789abcdef-admin"


def config_of(**sections: Any) -> ServeConfig:
    cameras = {"door": {"url": "rtsp://user:hidden@192.0.2.7/x"}}
    return parse_config({"cameras": cameras, **sections}, "test")


def test_a_worker_has_no_cameras_of_its_own_and_lets_gateways_in_alone() -> None:
    server = {"tokens": [VIEW], "admin_tokens": [ADMIN], "host": "0.0.0.0", "publish_tokens": [ADMIN]}
    config = Spec(config_of(server=server), SECRET).worker_config("192.0.2.9", "w1")
    assert config.cameras == {}
    assert config.state_dir is None
    assert (config.server.host, config.server.admin_tokens) == ("192.0.2.9", ())
    assert config.server.tokens == config.server.publish_tokens == (SECRET,)


@pytest.mark.parametrize(("tokens", "wanted"), [([VIEW], (hashed(VIEW), SECRET)), ([], ())])
def test_who_is_sent_to_a_worker_is_let_in_there(tokens: list[str], wanted: tuple[str, ...]) -> None:
    config = config_of(server={"tokens": tokens}, cluster={"whep": "redirect"})
    assert Spec(config, SECRET).worker_config("192.0.2.9", "w1").server.tokens == wanted


def test_brokers_know_workers_apart() -> None:
    mqtt = {"host": "broker", "client_id": "site"}
    spec = Spec(config_of(mqtt=mqtt), SECRET)
    found = [spec.worker_config("192.0.2.9", name).mqtt for name in ("w1", "w2")]
    assert [each.client_id for each in found if each] == ["site-w1", "site-w2"]


def test_another_config_is_refused_by_the_names_of_what_differs_without_a_value() -> None:
    spec = Spec(config_of(server={"tokens": [VIEW]}), SECRET)
    spec.check(config_of(server={"tokens": [VIEW], "port": 9}))
    spec.check(parse_config({"cameras": {"b": {"url": "synthetic:1"}}, "server": {"tokens": [VIEW]}}, "test"))
    other = {"server": {"tokens": [ADMIN]}, "model": {"name": "/hidden"}, "pipeline": {"stride": 2}}
    with pytest.raises(ConfigError, match=r"another model, pipeline, server\.tokens") as caught:
        spec.check(config_of(**other))
    assert "hidden" not in str(caught.value)
    assert ADMIN not in str(caught.value)


def test_nothing_shows_the_secret() -> None:
    spec = Spec(config_of(), SECRET)
    assert SECRET not in repr(spec)
    assert "hidden" not in repr(spec)
    assert spec.cookie_key == Spec(config_of(), SECRET).cookie_key != Spec(config_of(), VIEW).cookie_key
