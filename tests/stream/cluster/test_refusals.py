"""What cannot work is said in one line that names what and where, and nothing is started by it."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Thread

import pytest

from stream.cluster.connection import connect
from stream.cluster.crew import Crew
from stream.cluster.spec import Spec, unpacked
from stream.cluster.worker import Worker, WorkerError
from stream.config import load_config, parse_config
from stream.errors import ConfigError
from stream.metrics import package_version
from stream.tokens import make_token

CAMERAS = {"door": {"url": "synthetic:1"}}
CONFIG = parse_config({"cameras": CAMERAS, "cluster": {"worker_cpus": 4, "worker_gpus": 1}}, "test")
EXAMPLE = Path(__file__).parents[3] / "configs/cameras/example.yaml"
SECRET = "0123456789abcdef-secret"


def test_no_cluster_at_an_address() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"no Ray cluster at {address} "):
            connect(address)


def test_who_speaks_tls_finds_no_cluster_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.settimeout(20)

        def answer() -> None:
            for _ in range(2):  # looked for, and looked at
                line, _ = plain.accept()
                with line:
                    line.sendall(b"\0\0\0\4\0\0\0\0\0")  # as HTTP/2 begins, by which gRPC goes

        answering = Thread(target=answer)
        answering.start()
        address = f"127.0.0.1:{plain.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"the Ray cluster at {address} has no TLS"):
            connect(address)
        answering.join()


@pytest.mark.parametrize("address", ["127.0.0.1", ":6379", "head:port", "ray://head:10001x"])
def test_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match=f"HOST:PORT or auto, not '{address}'"):
        connect(address)


UNREADABLE = "[no config of this version"
BOTH = rf"the cluster runs version 9\.9, and this is {package_version()}: update this machine"


def test_who_is_of_another_version_is_told_both_before_anything_of_the_other_one_is_read() -> None:
    with pytest.raises(ConfigError, match=BOTH):
        unpacked(("9.9", UNREADABLE, SECRET))
    spec = Spec(CONFIG, SECRET)
    assert unpacked(spec.packed()) == spec


def test_another_process_gets_all_that_a_config_can_say() -> None:
    hardly = {
        "tokens": [make_token()],
        "tls": {"certificate": "a.pem", "key": "a.key"},
        "webrtc": {"ports": [49200, 49263], "turn": {"url": "turn:192.0.2.1", "secret": "s"}},
    }
    for config in (
        load_config(EXAMPLE, {"CAMERA_PASSWORD": "a b"}),
        parse_config({"cameras": CAMERAS, "server": hardly, "cluster": {"most_workers": 3}}, "test"),
    ):
        spec = Spec(config, SECRET)
        again = unpacked(spec.packed())
        assert again == spec
        again.check(config)


async def test_a_worker_of_another_version_does_not_begin_and_says_both() -> None:
    with pytest.raises(WorkerError, match=BOTH):
        await Worker(("9.9", UNREADABLE, SECRET), "worker-0").run()


def test_no_room_says_what_is_wanted_and_what_there_is() -> None:
    crew = Crew(Spec(CONFIG, SECRET), lambda worker: None)
    assert crew.problems == ()
    crew._nodes = {"a": {"Resources": {"CPU": 8.0}}, "b": {"Resources": {"CPU": 2.0, "GPU": 1.0}}}
    (problem,) = crew.problems
    assert "no node has 4 CPU and 1 GPU for a worker" in problem
    assert "8 CPU and 0 GPU, 2 CPU and 1 GPU" in problem
    crew._nodes["c"] = {"Resources": {"CPU": 4.0, "GPU": 1.0}}
    assert crew.problems == ()
