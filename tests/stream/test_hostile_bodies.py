"""A thousand bodies that nobody means well with: each is refused with a 4xx, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random

from tests.stream.test_webrtc import SDP, Viewer, offer_text, watched
from tests.stream.test_whep import CANDIDATE, FRAGMENT, fragment
from tests.stream.viewer_frames import until

COUNT = 500

JUNK = (
    *(
        "",
        "\x00",
        "a=",
        "m=",
        "v=0",
        "=",
        "a=candidate:",
        "m=video 9 UDP/TLS/RTP/SAVPF",
        "a=mid:",
        "a=group:BUNDLE",
    ),
    *(
        "a=fingerprint:sha-256 00",
        "a=setup:nobody",
        "a=rtpmap:x",
        "a=ssrc:99999999999999999999 cname:x",
        "🐈" * 20,
    ),
    *(
        "a=extmap:0 x",
        "a=fmtp:96 apt=999",
        "c=IN IP4 999.1.1.1",
        "m=application 9 x webrtc-datachannel",
        "a=sctp-port:x",
    ),
    *(
        "a=ice-ufrag:" + "x" * 2000,
        "a=ice-pwd:",
        "a=rid:1 send",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "a=inactive",
    ),
)


def spoiled(text: str, rng: random.Random) -> str:
    """The text after some lines of it were lost, doubled, moved, cut, or made junk; always one that matters."""
    lines = text.split("\r\n")
    for _ in range(rng.randint(1, 6)):
        at, kind = rng.randrange(len(lines)), rng.randrange(6)
        if kind == 0:
            lines[at] = rng.choice(JUNK)
        elif kind == 1:
            lines.insert(at, rng.choice(JUNK))
        elif kind == 2 and len(lines) > 1:
            del lines[at]
        elif kind == 3:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif kind == 4:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        else:
            lines[at] = "".join(chr(rng.randrange(1, 256)) if rng.random() < 0.2 else c for c in lines[at])
    essential = ("a=fingerprint", "a=ice-ufrag", "a=ice-pwd", "m=video", "v=0")
    victim = rng.choice(essential)
    return "\r\n".join(line for line in lines if not line.startswith(victim))


async def test_hostile_offers_are_refused() -> None:
    rng = random.Random(1)
    async with watched() as server:
        async with Viewer(server.http) as viewer:
            offer = await viewer.offer()
        before = len(asyncio.all_tasks())
        for i in range(COUNT):
            body = rng.randbytes(rng.randrange(2000)) if i % 10 == 0 else spoiled(offer, rng).encode()
            answer = await server.http.post("/whep/cam", content=body, headers=SDP)
            assert 400 <= answer.status_code < 500, body
            assert "\n" not in answer.json()["detail"]
        assert server.sessions == 0
        await until(lambda: server.service.hub("cam").subscribers == 0)
        await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_hostile_fragments_are_refused_and_the_session_goes_on() -> None:
    rng = random.Random(2)
    async with watched() as server, Viewer(server.http) as viewer:
        answer = await viewer.watch()
        good = fragment(viewer, CANDIDATE, CANDIDATE)
        headers = {"Content-Type": FRAGMENT, "If-Match": answer.headers["etag"]}
        for i in range(COUNT):
            if i % 10 == 0:
                body = rng.randbytes(rng.randrange(500))
            else:
                worse = spoiled(good, rng)
                body = f"{worse}\r\n{rng.choice(('x', 'a=candidate:1 1 udp', '=', 'ab=c'))}".encode()
            refused = await server.http.patch(viewer.location, content=body, headers=headers)
            assert 400 <= refused.status_code < 500, body
        assert server.sessions == 1
        await viewer.picture()


def test_what_is_spoiled_was_good() -> None:
    """The bodies are near to ones that are accepted, or refusing them would say little."""
    offer = asyncio.run(offer_text())
    kept = [
        len(set(spoiled(offer, random.Random(i)).split("\r\n")) & set(offer.split("\r\n"))) for i in range(50)
    ]
    assert min(kept) > 0.6 * len(set(offer.split("\r\n")))
