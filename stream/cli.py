"""The command line `syncvis-online`: picks a subcommand, and says in one line what went wrong.

Owns exit codes: 0 done, 1 failed while running, 2 wrong usage or config, 130 ended by Ctrl-C before it was
done.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import sys
from collections.abc import Sequence
from typing import NoReturn

from stream.commands import demo, drain, evaluate, serve, token, track, train, train_recognition, weights
from stream.errors import ConfigError, SyncVISError

PROGRAM = "syncvis-online"
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, in which a camera's URL shows no password."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (see {self.prog} --help)")
        sys.exit(EXIT_USAGE)


def build_parser() -> argparse.ArgumentParser:
    """All arguments of all subcommands; `run` of the result is the subcommand's function."""
    parser = _Parser(
        prog=PROGRAM,
        description="Streaming online video instance tracker: cameras in, masks with lasting identities out.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)
    for command in (demo, serve, drain, token, track, train, train_recognition, evaluate, weights):
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    # At its end the interpreter looks for cycles in all that torch has made: seconds on a busy machine.
    atexit.register(gc.freeze)
    if parsed.version:
        from stream.metrics import package_version

        print(f"{PROGRAM} {package_version()}")
        return 0
    if not hasattr(parsed, "run"):
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    try:
        code: int = parsed.run(parsed)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SyncVISError as error:
        _complain(str(error))
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except Exception:  # a defect: its stack trace is wanted, the password in it is not
        _report_defect()
        return EXIT_FAILED
    return code


def _complain(message: str) -> None:
    from stream.sources import mask_text

    print(f"{PROGRAM}: error: {mask_text(' '.join(message.split()))}", file=sys.stderr)


def _report_defect() -> None:
    import traceback

    from stream.sources import mask_text

    print(mask_text(traceback.format_exc()), end="", file=sys.stderr)
    _complain("this is a defect of the program; please report it with the lines above")


if __name__ == "__main__":
    sys.exit(main())
