"""`syncvis-online drain`: the cameras of workers of a Ray cluster go elsewhere, before their machine is switched off;
it ends when they have none.
"""

from __future__ import annotations

import argparse
import asyncio

from stream.commands.arguments import Subparsers, positive_seconds

WITHIN_S = 60.0


def add_parser(commands: Subparsers) -> None:
    """The arguments of `drain`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "drain",
        help="empty workers of a Ray cluster, before their machine is switched off",
        description="Let the cameras of workers of a Ray cluster go elsewhere, one after the other, and wait until "
        "they have none: exit code 0 when that is so, 1 when it is not in time, 2 when there is no such worker or "
        "cluster. They get no cameras from then on.",
    )
    parser.add_argument(
        "worker",
        nargs="*",
        metavar="WORKER",
        help="as /api/cluster names them (all of the Ray node that this machine is)",
    )
    parser.add_argument(
        "--cluster", default="auto", metavar="ADDRESS", help="the Ray cluster at HOST:PORT (this machine's)"
    )
    parser.add_argument(
        "--within",
        type=positive_seconds,
        default=WITHIN_S,
        metavar="SECONDS",
        help=f"wait so long at most ({WITHIN_S:g})",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Drain, wait, and say what came of it. Raises ConfigError and ClusterError."""
    from stream.commands.cluster import check_extra
    from stream.log import set_up_logging

    set_up_logging("warning", "text")
    check_extra()
    import ray

    from stream.cluster import connection
    from stream.cluster.drain import drain

    connection.connect(arguments.cluster)
    try:
        node = ray.get_runtime_context().get_node_id()
        control = connection.RayControl(arguments.cluster)
        had = asyncio.run(drain(control, workers=arguments.worker, node=node, within_s=arguments.within))
    finally:
        ray.shutdown()
    for worker, cameras in had.items():
        print(f"drained: {worker}, of {cameras} camera(s)", flush=True)
    if not had:
        print("this node has no worker: there is nothing to drain", flush=True)
    return 0
