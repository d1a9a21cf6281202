"""One camera as a person has it: `serve`, an RTSP camera of 640x360 at 25 frames a second, and somebody who watches.

    python -m benchmarks.live_view [--threads 1 2] [--engines openvino torch] [--precisions float32 bfloat16]
        [--viewers page peer none] [--profiles main high] [--seconds 45] [--json FILE]

For each of them in turn: frames that came and that were answered, from capture to publication and to the page's screen,
and cores that are busy: of the server with its readers, and of the browser. All run on the same processors, with the
RTSP server (GStreamer). A camera's H.264 in Main is shown by the page as it is, High is encoded again for a Chromium
without a decoder in hardware. "peer" stands for somebody at another machine: it takes the overlay, which the server
draws and encodes, and throws it away. Percentiles are of the newest frames (1,024 at most), as `/api/cameras` tells
them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
from tabulate import tabulate

from benchmarks.many_cameras import serve_clip
from benchmarks.report import add_outputs
from benchmarks.viewers import child, line_of
from syncvis_online.evaluation.run import write_result
from tests.browser.pages import wait_for_state
from tests.integration.processes import ServeProcess, write_config
from tests.support.chromium import launched
from tests.support.rtsp_server import RtspServer

CAMERA = "cam"
SETTLE_S = 8.0
READY_WITHIN_S = 120.0


async def measured(config: Path, viewer: str, seconds: float) -> dict[str, Any]:
    """One row: a server of its own, and a browser of its own where there is a viewer."""
    with ServeProcess(config) as server:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.address))
            async with asyncio.timeout(READY_WITHIN_S):
                while not (await told(http))["processed"]:  # noqa: ASYNC110  # polled, as from outside
                    await asyncio.sleep(0.2)
            if viewer == "peer":
                peer = await stack.enter_async_context(
                    child("--watch", server.address.rpartition(":")[2], "picture")
                )
                assert peer.stdin is not None
                peer.stdin.write(f"1 {seconds}\n".encode())
                await line_of(peer)
            if viewer == "page":
                browser = await stack.enter_async_context(launched())
                page = await browser.new_page(viewport={"width": 1280, "height": 800})
                await page.goto(server.address)
                await wait_for_state(page, "live")
            await asyncio.sleep(SETTLE_S)
            before, cpu_s, began = await told(http), busy_s(server.pid), time.monotonic()
            await asyncio.sleep(seconds)
            after, took = await told(http), time.monotonic() - began
            cores = {name: (now - cpu_s[name]) / took for name, now in busy_s(server.pid).items()}
            computes = (await http.get("/api/model")).json()
        server.end()
    return {
        "engine": computes["engine"],
        "precision": computes["precision"],
        "viewer": viewer,
        "received_per_s": round((after["received"] - before["received"]) / took, 1),
        "answered_per_s": round((after["processed"] - before["processed"]) / took, 1),
        "pace": after["pace"],
        "latency_ms": after["latency_ms"],
        "glass_ms": after["glass_ms"],
        "stages_ms": after["stages_ms"],
        "server_cores": round(cores["server"], 2),
        "browser_cores": round(cores["browser"], 2),
    }


async def told(http: httpx.AsyncClient) -> dict[str, Any]:
    """What the server says of its camera."""
    (camera,) = (await http.get("/api/cameras")).json()
    assert isinstance(camera, dict)
    return camera


def busy_s(server: int) -> dict[str, float]:
    """Processor time of the server with its readers, and of the browser with all that it has started."""
    own = psutil.Process(server)
    ours = [own, *own.children(recursive=True)]
    others = [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]
    return {"server": sum(map(_cpu_s, ours)), "browser": sum(map(_cpu_s, others))}


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text, times in milliseconds."""
    body = [
        [
            *(row[name] for name in ("profile", "engine", "precision", "threads", "viewer")),
            f"{row['answered_per_s']} of {row['received_per_s']}",
            *("/".join(f"{v:.0f}" for v in (row[of] or {}).values()) for of in ("latency_ms", "glass_ms")),
            row["server_cores"],
            row["browser_cores"],
        ]
        for row in rows
    ]
    heads = ["H.264", "engine", "precision", "threads", "viewer", "answered/s", "to publication", "to glass"]
    return tabulate(body, headers=[*heads, "server, cores", "browser, cores"], disable_numparse=True)


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="default", metavar="NAME")
    parser.add_argument("--engines", nargs="+", default=["openvino"])
    parser.add_argument("--precisions", nargs="+", default=["auto"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--viewers", nargs="+", choices=("page", "peer", "none"), default=["page", "peer"])
    parser.add_argument("--profiles", nargs="+", choices=("baseline", "main", "high"), default=["main"])
    parser.add_argument("--seconds", type=float, default=45.0)
    add_outputs(parser)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, RtspServer(Path(folder)) as rtsp:
        for profile in arguments.profiles:
            serve_clip(rtsp, 1, f"h264-{profile}")
        urls = {name: rtsp.url(mount) for name, mount in zip(arguments.profiles, rtsp.mounts, strict=True)}
        for profile, engine, precision, threads, viewer in itertools.product(
            urls, arguments.engines, arguments.precisions, arguments.threads, arguments.viewers
        ):
            model = {"name": arguments.model, "engine": engine, "precision": precision, "threads": threads}
            config = write_config(Path(folder), {CAMERA: urls[profile]}, model=model)
            row = {"profile": profile, "threads": threads}
            row |= asyncio.run(measured(config, viewer, arguments.seconds))
            rows.append(row)
            print(row, flush=True)
    if arguments.json is not None:
        about = {"model": arguments.model, "processors": psutil.cpu_count(), "seconds": arguments.seconds}
        write_result(arguments.json, {**about, "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
