"""Events reach a real broker; while it is away the service goes on, and what is lost is counted."""

from __future__ import annotations

import asyncio
import datetime
import gc
import ipaddress
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stream.app import Service
from stream.config import MqttConfig, parse_config
from stream.errors import ConfigError
from stream.events import decode_event
from stream.mqtt import MqttPublisher, mqtt_events
from stream.sources import ReconnectPolicy
from tests.stream.frames import SquareEngine
from tests.stream.viewer_frames import make_picture, make_service, until
from tests.stream.walks import standing_at, walking
from tests.support.mqtt_broker import PASSWORD, USER, Broker

pytestmark = pytest.mark.integration
PUBLISHER = """
import asyncio, sys
from stream.config import MqttConfig
from stream.event_hub import EventHub
from stream.mqtt import MqttPublisher
config = MqttConfig(host="127.0.0.1", port=int(sys.argv[1]))
async def main():
    await MqttPublisher(config, EventHub()).run()
asyncio.run(main())
"""
SOON = ReconnectPolicy(initial_delay_s=0.01, max_delay_s=0.05)


def config_of(broker: Broker, **changes: Any) -> MqttConfig:
    return MqttConfig.model_validate({"host": "127.0.0.1", "port": broker.port} | changes)


@asynccontextmanager
async def reading(
    broker: Broker, topic: str = "#", **options: Any
) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
    """All messages of a topic, as topic and text; what is retained comes first."""

    async def messages() -> AsyncIterator[tuple[str, str]]:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            yield str(message.topic), message.payload.decode()

    async with aiomqtt.Client("127.0.0.1", broker.port, **options) as client:
        await client.subscribe(topic, qos=1)
        yield messages()


def dropped(service: Service) -> float | None:
    return service.registry.get_sample_value("syncvis_events_dropped_total", {"subscriber": "mqtt"})


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_each_event_is_published_below_its_camera_and_kind(tmp_path: Path, qos: int) -> None:
    service = make_service("door")
    with Broker(tmp_path) as broker:
        async with reading(broker) as messages:
            async with mqtt_events(config_of(broker, qos=qos, topic_prefix="home/sv"), service.events):
                assert await anext(messages) == ("home/sv/status", "online")
                service.hub("door").publish(make_picture(1, "door"))
                for number in (1, 2):
                    topic, text = await anext(messages)
                    assert topic == "home/sv/door/events/born"
                    assert decode_event(text) == service.events.history[number - 1]
            assert await anext(messages) == ("home/sv/status", "offline")


async def test_what_happens_at_a_zone_has_a_topic_of_its_kind(tmp_path: Path) -> None:
    zone = {"polygon": [[0, 0], [1, 0], [1, 1], [0, 1]], "settle_s": 0}
    cameras = {"yard": {"url": "synthetic:1", "zones": {"all": zone}}}
    service = Service(parse_config({"cameras": cameras}, "test"), SquareEngine())
    with Broker(tmp_path) as broker:
        async with (
            reading(broker, "syncvis/yard/events/enter") as messages,
            mqtt_events(config_of(broker), service.events),
        ):
            service.hub("yard").publish(walking(1, standing_at(0.5, 0.5)))
            topic, text = await anext(messages)
            event = decode_event(text)
    assert (topic, event.event, event.zone) == ("syncvis/yard/events/enter", "enter", "all")


async def test_a_service_that_is_gone_without_a_word_is_offline(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        async with reading(broker, "syncvis/status") as messages:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISHER, str(broker.port))
            assert await anext(messages) == ("syncvis/status", "online")
            process.kill()
            assert await anext(messages) == ("syncvis/status", "offline")
            await process.wait()
        async with reading(broker, "syncvis/status") as later:
            assert await anext(later) == ("syncvis/status", "offline"), "it is retained"


async def test_what_waits_is_bounded_and_the_newest_come(tmp_path: Path) -> None:
    service = make_service("door")
    with Broker(tmp_path) as broker:
        publisher = MqttPublisher(config_of(broker, queue_events=4), service.events)
        for seq in range(10):
            service.events.publish(one_event(seq))
        assert publisher.waiting == 4
        assert dropped(service) == 6
        async with reading(broker, "syncvis/door/#") as messages:
            publisher.close()
            await publisher.run()
            got = [decode_event((await anext(messages))[1]) for _ in range(4)]
    assert tuple(got) == service.events.history[-4:]


async def test_it_connects_again_without_being_asked_when_the_broker_comes_back(tmp_path: Path) -> None:
    service = make_service("door")
    with Broker(tmp_path) as broker:
        async with mqtt_events(config_of(broker), service.events, retry=SOON) as publisher:
            assert publisher is not None
            for seq in (1, 100):
                await publisher.connected.wait()
                async with reading(broker, "syncvis/door/#") as messages:
                    service.events.publish(one_event(seq))
                    assert decode_event((await anext(messages))[1]).seq == seq
                broker.stop()
                await until(lambda: not publisher.connected.is_set())
                broker.start()
            await publisher.connected.wait()
    assert dropped(service) == 0


async def test_what_waits_when_the_broker_is_lost_is_not_lost(tmp_path: Path) -> None:
    service = make_service("door")
    with Broker(tmp_path) as broker:
        async with mqtt_events(config_of(broker), service.events, retry=SOON) as publisher:
            assert publisher is not None
            await publisher.connected.wait()
            broker.stop()
            for seq in range(20):
                service.events.publish(one_event(seq))
            await until(lambda: not publisher.connected.is_set())
            assert publisher.waiting == 20
            broker.start()
            await until(lambda: publisher.waiting == 0)
    assert dropped(service) == 0


async def test_a_broker_that_never_was_delays_neither_start_nor_end(tmp_path: Path) -> None:
    service = make_service("door")
    async with mqtt_events(config_of(Broker(tmp_path)), service.events) as publisher:
        service.hub("door").publish(make_picture(1, "door"))
        assert publisher is not None
        assert publisher.waiting == 2
    assert service.events.subscribers == 0


async def test_passwords_open_and_wrong_ones_are_not_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service("door")
    with Broker(tmp_path, password=True) as broker:
        right = config_of(broker, username=USER, password=PASSWORD)
        wrong = config_of(broker, username=USER, password="wrong-and-secret")
        assert PASSWORD not in repr(right)
        async with mqtt_events(wrong, service.events, retry=SOON) as publisher:
            await until(lambda: "connecting again" in caplog.text)
            assert publisher is not None
            assert not publisher.connected.is_set()
        async with mqtt_events(right, service.events, retry=SOON) as publisher:
            assert publisher is not None
            await publisher.connected.wait()
    assert "wrong-and-secret" not in caplog.text


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
async def test_tls_is_checked_against_the_named_authority(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service("door")
    certificate, key = own_certificate(tmp_path)
    with Broker(tmp_path, tls=(certificate, key)) as broker:
        async with mqtt_events(config_of(broker, tls=True), service.events, retry=SOON) as publisher:
            await until(lambda: "certificate" in caplog.text.lower())
            assert publisher is not None
            assert not publisher.connected.is_set()
        settings = config_of(broker, tls=True, ca_file=str(certificate))
        async with mqtt_events(settings, service.events, retry=SOON) as publisher:
            assert publisher is not None
            await publisher.connected.wait()
    gc.collect()
    with pytest.raises(ConfigError, match=r"mqtt\.ca_file: No such file"):
        MqttPublisher(config_of(broker, tls=True, ca_file=str(tmp_path / "nowhere")), service.events)


def one_event(seq: int) -> Any:
    """An event of camera door on that frame."""
    service = make_service("door")
    service.hub("door").publish(make_picture(seq, "door"))
    return service.events.history[0]


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths
