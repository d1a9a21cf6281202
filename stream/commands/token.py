"""`syncvis-online token`: a new bearer token, and the hash of it that a config holds."""

from __future__ import annotations

import argparse

from stream.commands.arguments import Subparsers


def add_parser(commands: Subparsers) -> None:
    """The arguments of `token`: none."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "token",
        help="make a bearer token, and the hash of it for a config",
        description="Make a bearer token of 256 random bits. Whoever may watch, publish or change cameras gets the "
        "token; the config gets its hash, in server.tokens, publish_tokens or admin_tokens. It is shown this once.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print both, each on a line of its own."""
    from stream.tokens import hashed, make_token

    token = make_token()
    print(f"token: {token}\nhash: {hashed(token)}")
    return 0
