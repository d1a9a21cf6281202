"""A server cannot be made to look around where it stands: hosts of cameras that are added over the network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.camera_hosts import CameraHosts, look_up
from stream.errors import ConfigError, SourceForbidden, SourceUnavailable

HERE = ["127.0.0.0/8", "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"]
CLOUDS = ["100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"]
HERE_6 = ["::1/128", "::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128", "64:ff9b:1::/48", "2001::/32"]
WRAPPED = ["", "::ffff:0:0", "64:ff9b::", "2002::", "::", "::ffff:0:0:0"]


async def nothing(host: str) -> list[str]:
    raise OSError("no such host")


def resolving(*addresses: str) -> CameraHosts:
    async def look_up(host: str) -> list[str]:
        return list(addresses)

    return CameraHosts(None, look_up)


def inside(networks: list[str]) -> st.SearchStrategy[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return st.one_of(st.ip_addresses(network=network) for network in networks)


async def allowed(hosts: CameraHosts, url: str) -> bool:
    try:
        hosts.check_url(url)
        await hosts.check(url)
    except (ConfigError, SourceForbidden):
        return False
    return True


@given(inside(HERE + CLOUDS), st.sampled_from(WRAPPED), st.booleans())
async def test_this_machine_and_its_link_are_refused_however_they_are_written(
    address: ipaddress.IPv4Address, wrapped: str, after_another: bool
) -> None:
    text = str(address)
    if wrapped == "2002::":
        text = str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80)))
    elif wrapped:
        text = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(wrapped)) | int(address)))
    host = f"[{text}]" if ":" in text else text
    assert not await allowed(CameraHosts(), f"rtsp://{host}/x")
    answers = ["192.0.2.1", text] if after_another else [text]
    assert not await allowed(resolving(*answers), "rtsp://cam.example.org/x")


@given(inside(HERE_6))
async def test_so_are_their_ipv6_addresses(address: ipaddress.IPv6Address) -> None:
    assert not await allowed(CameraHosts(), f"rtsp://[{address}]/x")


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "017700000001", "localhost", "0"])
async def test_other_ways_to_write_this_machine_s_address(host: str) -> None:
    assert not await allowed(CameraHosts(), f"rtsp://{host}/x")


@pytest.mark.parametrize(
    "url", ["rtsp://192.168.1.20/x", "rtsps://me:p%40ss@10.0.0.9:322/x", "rtsp://[2001:db8::1]:554/"]
)
async def test_cameras_of_a_private_network_are_allowed(url: str) -> None:
    assert await allowed(CameraHosts(), url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "rtsp://192.0.2.1\\@127.0.0.1/",
            "rtsp://192.0.2.1#@127.0.0.1/",
            "rtsp://192.0.2.1/ x",
            "rtsp://a@b@192.0.2.1/",
        ),
        *(
            "rtsp://192.0.2.1?x",
            "rtsp://192.0.2.1\n/x",
            "rtsp://[::1",
            "rtsp:///x",
            "rtsp://",
        ),
    ],
)
async def test_what_two_programs_could_read_differently_is_refused(url: str) -> None:
    assert not await allowed(CameraHosts(), url)


async def test_a_list_is_all_that_is_allowed() -> None:
    async def look_up(host: str) -> list[str]:
        return {"in": ["192.0.2.7"], "half": ["192.0.2.7", "198.51.100.1"]}.get(host) or await literal(host)

    async def literal(host: str) -> list[str]:
        return [str(ipaddress.ip_address(host))]

    rules = ["192.0.2.0/24", "127.0.0.1", ".cams.example.org", "one.example.org", "2001:db8::/32"]
    hosts = CameraHosts(rules, look_up)
    for host in ("192.0.2.9", "127.0.0.1", "A.Cams.Example.org", "one.example.org.", "[2001:db8::9]", "in"):
        assert await allowed(hosts, f"rtsp://{host}/x"), host
    for host in ("192.0.3.1", "127.0.0.2", "[2001:db9::1]", "half"):
        assert not await allowed(hosts, f"rtsp://{host}/x"), host
    for host in ("cams.example.org", "xcams.example.org", "two.one.example.org"):
        with pytest.raises(ValueError, match="does not appear to be"):
            await hosts.check(f"rtsp://{host}/x")
    assert not await allowed(CameraHosts([]), "rtsp://192.0.2.9/x")


async def test_a_name_without_an_address_may_get_one_later() -> None:
    with pytest.raises(SourceUnavailable, match=r"camera host 'gone\.example\.org' is not known"):
        await CameraHosts(None, nothing).check("rtsp://gone.example.org/x")


@pytest.mark.parametrize(
    "rule", ["", "192.0.2.0/33", "192.0.2.1/24", "a b", "http://x", "*.example.org", "1.2.3"]
)
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="a host's name"):
        CameraHosts([rule])


@pytest.mark.parametrize("url", ["/etc/passwd", "file:///x", "/dev/video0", "clip.mp4"])
def test_no_files_and_no_devices(url: str) -> None:
    with pytest.raises(ConfigError, match="url: only rtsp://"):
        CameraHosts().check_url(url)


async def test_names_that_no_server_answers_for_take_nothing_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        answered.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    asked = [asyncio.create_task(look_up(f"cam{index}.example.org")) for index in range(64)]
    try:
        # As many as the loop has threads for usual work, such as starting a reader.
        await asyncio.gather(*(asyncio.to_thread(lambda: None) for _ in range(64)))
        assert not any(task.done() for task in asked)
    finally:
        answered.set()
        await asyncio.gather(*asked)
