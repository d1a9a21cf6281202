"""The settings of the HTTP and WebRTC side: `server` in a config.

Owns names, defaults and limits. Does not know what the settings do.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stream.camera_hosts import CameraHosts
from stream.tokens import hashed

Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("an address or a network, e.g. 192.0.2.0/24") from None
    return text


def _host_rule(text: str) -> str:
    CameraHosts((text,))
    return text


def _server_url(text: str) -> str:
    if not re.fullmatch(r"(stun|turns?):[^?:\s]+(:\d+)?(\?transport=(udp|tcp))?", text):
        raise ValueError("a server is stun:HOST[:PORT] or turn:HOST[:PORT][?transport=udp|tcp]")
    return text


Token = Annotated[str, AfterValidator(hashed)]
"""Plain or as its hash; its hash is all that is kept."""
IPAddress = Annotated[str, AfterValidator(_address)]
IceServerUrl = Annotated[str, AfterValidator(_server_url)]


NetworkText = Annotated[str, AfterValidator(_network)]
HostRule = Annotated[str, AfterValidator(_host_rule)]


class TurnConfig(Section):
    """A TURN server. `secret`: what it shares with this host, for credentials that end after `ttl_s`; without one
    everybody gets `username` and `password`.
    """

    url: IceServerUrl
    secret: str = Field(default="", repr=False)
    username: str = ""
    password: str = Field(default="", repr=False)
    ttl_s: Annotated[float, Field(ge=60, le=86_400)] = 3600.0

    @model_validator(mode="after")
    def _has_credentials(self) -> TurnConfig:
        if not self.secret and not (self.username and self.password):
            raise ValueError("a TURN server needs a secret, or a username and a password")
        return self


class WebRtcConfig(Section):
    """How viewers' browsers reach this host over UDP.

    `addresses`: its own addresses that are offered; left out, loopback where the server listens there, else all others.
    `ports`: the first and the last UDP port, one for each viewer; left out, any. `advertised`: the address that viewers
    are told instead, where a NAT or a container's network passes these ports through. `stun`, `turn`: servers that
    viewers and this host ask; left out, none is asked. `viewers`, `publishers`: at the same time, all cameras together.
    """

    addresses: tuple[IPAddress, ...] | None = None
    ports: (
        tuple[Annotated[int, Field(ge=1024, le=65535)], Annotated[int, Field(ge=1024, le=65535)]] | None
    ) = None
    advertised: IPAddress | None = None
    stun: IceServerUrl | None = None
    turn: TurnConfig | None = None
    viewers: Annotated[int, Field(ge=1, le=10_000)] = 64
    publishers: Annotated[int, Field(ge=1, le=10_000)] = 16

    @model_validator(mode="after")
    def _has_ports(self) -> WebRtcConfig:
        if self.ports is not None and self.ports[0] > self.ports[1]:
            raise ValueError("ports are the first and the last one")
        return self


class TlsConfig(Section):
    """The files of a certificate, with those between it and its authority's, and of its key, in PEM. SIGHUP reads both
    again.
    """

    where: ClassVar[str] = "server.tls"
    """Its place in a config, for what is said of it."""

    certificate: Annotated[str, Field(min_length=1)]
    key: Annotated[str, Field(min_length=1)]


class LimitsConfig(Section):
    """What one client (an IPv4 address, an IPv6 network of 64 bits; never this machine itself) may ask for:
    `requests_per_s` on average, `burst` at once; `connections`: requests, streams and WebSockets at the same time;
    `sessions`: WebRTC sessions at the same time, to watch and again to publish. `request_timeout_s`: how long a request
    may take to come, of any client.
    """

    requests_per_s: Annotated[float, Field(ge=0.1, le=100_000)] = 50.0
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    connections: Annotated[int, Field(ge=1, le=100_000)] = 256
    sessions: Annotated[int, Field(ge=1, le=10_000)] = 32
    request_timeout_s: Seconds = 10.0


class ServerConfig(Section):
    """Where HTTP listens: this machine only unless told otherwise. Port 0 takes any free port.

    `frame_stamp`: draw each frame's number into the picture that viewers get, to measure delays.
    `allowed_hosts`: the names by which a browser may ask for the server. Left out, that is any name where the
    server listens to the network, and this machine's own names where it does not. `origins`: the web sites whose pages
    may watch and read (CORS), e.g. https://example.org; none but the server's own page unless named here. `tokens`: who
    shows one of them may watch and read; left out, everybody may, which beyond this machine `open` must say. Each is
    the token or its hash, from `syncvis-online token`. `tls`: the certificate for HTTPS; left out, HTTP.
    `proxies`: addresses and networks of proxies, which say in X-Forwarded-For for whom they ask.
    `stall_timeout_s`: a client that takes nothing for so long, while its buffers are full, is cut.
    `drain_s`: so long after a signal to end the server still listens, says in /healthz that it is about to end, and
    takes no more WebRTC sessions: the time that a load balancer needs to send people elsewhere.
    `publish_tokens`: who shows one of those may publish cameras (`whip:`), which nobody may without.
    `admin_tokens`: who shows one of those may add, change and remove cameras, which nobody may without; `camera_hosts`:
    where cameras may be that are added so: names, .domains, addresses, networks; left out, anywhere but on this machine
    and its link. `max_cameras`: all together.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    port: Port = 8080
    frame_stamp: bool = False
    allowed_hosts: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = Field(default=(), repr=False)
    open: bool = False
    tls: TlsConfig | None = None
    limits: LimitsConfig = LimitsConfig()
    proxies: tuple[NetworkText, ...] = ("127.0.0.1", "::1")
    stall_timeout_s: Seconds = 5.0
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    publish_tokens: tuple[Token, ...] = Field(default=(), repr=False)
    admin_tokens: tuple[Token, ...] = Field(default=(), repr=False)
    camera_hosts: tuple[HostRule, ...] | None = None
    max_cameras: Annotated[int, Field(ge=1, le=10_000)] = 64
    webrtc: WebRtcConfig = WebRtcConfig()
