"""Events to an MQTT broker, and whether this service is there.

Owns the connection, which is made again with growing back-off, and what waits meanwhile: a bounded queue whose losses
are counted. Whatever the broker does, nobody else waits for it. Needs the extra `mqtt`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from stream.config import MqttConfig
from stream.errors import ConfigError
from stream.event_hub import EventHub, EventSubscription
from stream.events import TrackEvent
from stream.sources import ReconnectPolicy

if TYPE_CHECKING:
    from aiomqtt import Client

_log = logging.getLogger(__name__)

ONLINE, OFFLINE = "online", "offline"
RETRY = ReconnectPolicy(initial_delay_s=0.5, max_delay_s=30.0, healthy_after_s=10.0)
CLOSE_TIMEOUT_S = 1.0
"""What the broker gets to take what waits when the service ends."""


class MqttPublisher:
    """Publishes each event at `PREFIX/CAMERA/events/KIND`, and at `PREFIX/status`, retained, "online" while it is
    connected, "offline" when it has left or (its last will) is gone without a word.

    With QoS 1 or 2 an event that was not acknowledged is published again. Raises ConfigError when the extra is not
    installed or the certificates cannot be read.
    """

    def __init__(self, config: MqttConfig, hub: EventHub, *, retry: ReconnectPolicy = RETRY) -> None:
        try:
            import aiomqtt
        except ImportError as error:
            raise ConfigError("mqtt: needs the extra: pip install 'syncvis-online[mqtt]'") from error
        self._aiomqtt = aiomqtt
        self._config = config
        self._tls = _tls_context(config)
        self._retry = retry
        self._events: EventSubscription = hub.subscribe(kind="mqtt", capacity=config.queue_events)
        self.connected = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many events wait for the broker."""
        return self._events.waiting

    async def run(self) -> None:
        """Publish until `close()` was called and what waits is sent, or until it is cancelled."""
        rng, failures = random.Random(), 0
        while True:
            began_s = time.monotonic()
            try:
                await self._session()
                return
            except self._aiomqtt.MqttError as error:
                reason = str(error)
            except ExceptionGroup as group:
                reason = str(_mqtt_errors(group, self._aiomqtt.MqttError))
            finally:
                self.connected.clear()
            failures = 1 if time.monotonic() - began_s >= self._retry.healthy_after_s else failures + 1
            delay_s = self._retry.delay_s(failures, rng)
            _log.warning("mqtt: %s; connecting again in %.1f s", reason, delay_s)
            await asyncio.sleep(delay_s)

    def close(self) -> None:
        """Take no more events. Idempotent; never waits."""
        self._events.close()

    async def _session(self) -> None:
        """One connection, to its end. Returns when there is nothing left to publish and nothing will come."""
        async with self._client() as client:
            await self._say(client, ONLINE)
            self.connected.set()
            _log.info("mqtt: connected to %s:%d", self._config.host, self._config.broker_port)
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(_until_lost(client), name="mqtt watch")
                await self._publish_all(client)
                watching.cancel()
            await self._say(client, OFFLINE)

    def _client(self) -> Client:
        config = self._config
        return self._aiomqtt.Client(
            config.host,
            config.broker_port,
            username=config.username or None,
            password=config.password or None,
            identifier=config.client_id or None,
            will=self._aiomqtt.Will(self._status_topic, OFFLINE, qos=config.qos, retain=True),
            keepalive=round(config.keepalive_s),
            timeout=config.timeout_s,
            tls_context=self._tls,
        )

    @property
    def _status_topic(self) -> str:
        return f"{self._config.topic_prefix}/status"

    async def _say(self, client: Client, status: str) -> None:
        await client.publish(self._status_topic, status, qos=self._config.qos, retain=True)

    async def _publish_all(self, client: Client) -> None:
        async for event in self._events:
            try:
                await client.publish(self._topic(event), event.model_dump_json(), qos=self._config.qos)
            except BaseException:
                self._events.put_back(event)
                raise

    def _topic(self, event: TrackEvent) -> str:
        return f"{self._config.topic_prefix}/{event.camera}/events/{event.event}"


@asynccontextmanager
async def mqtt_events(
    config: MqttConfig | None, hub: EventHub, *, retry: ReconnectPolicy = RETRY
) -> AsyncIterator[MqttPublisher | None]:
    """A publisher at work while inside; None where none is configured. At the end the broker has `CLOSE_TIMEOUT_S`."""
    if config is None:
        yield None
        return
    publisher = MqttPublisher(config, hub, retry=retry)
    running = asyncio.create_task(publisher.run(), name="mqtt")
    try:
        yield publisher
    finally:
        publisher.close()
        if publisher.connected.is_set():
            await asyncio.wait([running], timeout=CLOSE_TIMEOUT_S)
        running.cancel()
        await asyncio.wait([running])
    if not running.cancelled() and (error := running.exception()) is not None:
        _log.error("mqtt: ended by a defect", exc_info=error)


async def _until_lost(client: Client) -> None:
    """Raises MqttError when the connection is gone; nothing is subscribed to, so nothing else comes."""
    async for _ in client.messages:
        pass


def _mqtt_errors(group: ExceptionGroup[Exception], kind: type[Exception]) -> Exception:
    """The first error of a group of those; raises the group when another one is among them."""
    _, others = group.split(kind)
    if others is not None:
        raise group
    first = group.exceptions[0]
    return _mqtt_errors(first, kind) if isinstance(first, ExceptionGroup) else first


def _tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    if not config.tls:
        return None
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"mqtt.ca_file: {error.strerror or error}") from error
