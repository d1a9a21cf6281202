"""Which hosts a camera may be at that somebody adds while the server runs: a server must not be made to look around in
the network that it stands in.

Owns the rules for addresses and names. A name is looked up, and each address that it has must be allowed. Does not
connect: FFmpeg looks a name up again when it does, and follows an RTSP redirect; where that has led is asked after it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from stream.errors import ConfigError, SourceForbidden, SourceUnavailable
from stream.sources.admitted import Admission
from stream.sources.urls import mask_url, parse_address

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""From a host's name to its addresses; raises OSError where it has none."""

_URL = re.compile(
    r"rtsps?://(?:[^\s/?#@\\]*@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:/[^\s\\]*)?", re.I
)
"""So plain that no two programs read another host in it."""
_NAME = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")

_NEVER_BY_DEFAULT = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
        *("::/128", "::1/128", "fe80::/10", "ff00::/8"),
        *("fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("64:ff9b:1::/48", "2001::/32"),
    )
)
"""This machine, its link, and groups; where clouds tell secrets to who asks (AWS; Alibaba, Azure, Oracle; others do on
the link); IPv4 behind local translation and Teredo, where no camera is."""
_WRAPPING = tuple(
    ipaddress.IPv6Network(each) for each in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96", "::ffff:0:0/96")
)
"""IPv4 in the last 32 bits: NAT64 (RFC 6052), compatible (RFC 4291), translated (RFC 2765), mapped (RFC 4291)."""


LOOK_UP_TIMEOUT_S = 10.0
_look_ups = ThreadPoolExecutor(8, "look-up")
"""Threads of their own: where no name server answers each takes many seconds, and the loop's usual ones start readers
and blur pictures of other cameras meanwhile."""


async def look_up(host: str) -> Sequence[str]:
    """All addresses of a host. Raises OSError, TimeoutError among it."""
    ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
        found = await asyncio.get_running_loop().run_in_executor(_look_ups, ask)
    return [str(entry[4][0]) for entry in found]


class CameraHosts:
    """`allowed`: host names (`cam.example.org`), all below one (`.example.org`), addresses and networks
    (`192.0.2.0/24`). None: every host that is neither this machine nor on its link, nor a group. Raises ValueError.
    """

    def __init__(self, allowed: Iterable[str] | None = None, resolve: Resolve = look_up) -> None:
        self._resolve = resolve
        self._networks: list[Network] | None = None
        self._names: list[str] = []
        if allowed is not None:
            self._networks = []
            for each in allowed:
                self._allow(each, self._networks)

    def check_url(self, url: str) -> None:
        """Raises ConfigError for an address that nobody may add: files and devices, and what is not plain."""
        kind = parse_address(url).kind
        if kind not in ("rtsp", "synthetic", "publisher"):
            raise ConfigError("url: only rtsp://, rtsps://, synthetic: and whip: can be added while it runs")
        if kind == "rtsp" and not _URL.fullmatch(url):
            raise ConfigError(
                f"url: '{mask_url(url)}' is not plain: rtsp://USER:PASSWORD@HOST:PORT/PATH, with %40 for @ and so on"
            )

    async def check(self, url: str) -> None:
        """Raises SourceForbidden where a camera's host is not allowed, SourceUnavailable where it has no address."""
        if parse_address(url).kind != "rtsp":
            return
        found = _URL.fullmatch(url)
        if found is None:
            raise SourceForbidden(f"source '{mask_url(url)}' is not plain")
        host = _host_of(found)
        if self._is_named(host):
            return
        try:
            addresses = await self._resolve(host)
        except (OSError, UnicodeError) as error:
            raise SourceUnavailable(f"camera host '{host}' is not known") from error
        if not addresses or not all(self._allows(each) for each in addresses):
            raise SourceForbidden(f"camera host '{host}' is not allowed: see server.camera_hosts")

    def admit(self, url: str) -> Admission | None:
        """What has to be asked of each connection to a camera; None where it has no host."""
        if parse_address(url).kind != "rtsp":
            return None
        return Admission(partial(self.check, url), partial(self._check_peers, url))

    def _check_peers(self, url: str, peers: Sequence[str]) -> None:
        """Raises SourceForbidden where a connection has led to an address that is not allowed. What is allowed by its
        name is trusted wherever it leads.
        """
        found = _URL.fullmatch(url)
        if found is not None and self._is_named(_host_of(found)):
            return
        if wrong := [each for each in peers if not self._allows(each)]:
            raise SourceForbidden(
                f"source '{mask_url(url)}' has led to {', '.join(wrong)}, which is not allowed: see server.camera_hosts"
            )

    def _is_named(self, host: str) -> bool:
        return any(host == name or (name.startswith(".") and host.endswith(name)) for name in self._names)

    def _allow(self, rule: str, networks: list[Network]) -> None:
        try:
            networks.append(ipaddress.ip_network(rule))
        except ValueError:
            if re.fullmatch(r"[0-9./:]*", rule) or not _NAME.fullmatch(rule):
                raise ValueError("a host's name, .DOMAIN, an address or a network (192.0.2.0/24)") from None
            self._names.append(rule.rstrip(".").lower())

    def _allows(self, text: str) -> bool:
        address = _meant(ipaddress.ip_address(text.partition("%")[0]))
        if self._networks is None:
            return not any(address in network for network in _NEVER_BY_DEFAULT)
        return any(address in network for network in self._networks)


def _host_of(url: re.Match[str]) -> str:
    return url[1].strip("[]").rstrip(".").lower()


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does. :: and ::1 are themselves."""
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:
        return address
    if any(address in network for network in _WRAPPING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address
