"""What becomes of a cluster's cameras when a gateway reads its config file again.

Owns the rule, by what the file said before: what somebody changed meanwhile stays. Pure, but for the book.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream.cluster.book import Book
from stream.cluster.messages import Settings


def reload(book: Book, before: Mapping[str, Settings], now: Mapping[str, Settings]) -> list[str]:
    """Let cameras be as a config file says now, where it says something else than before: added, changed, removed.
    Those that stay as they are, since they are neither as it said nor as it says: they were changed while they ran.
    Where another gateway has read the same file, nothing is left to do.

    Raises OSError, and some may be as the file says already; doing it again does the rest.
    """
    stayed = []
    there = book.cameras()
    for camera in dict.fromkeys((*before, *now)):
        said, says, settings = before.get(camera), now.get(camera), there.get(camera)
        if said == says or settings == says:
            continue
        if settings != said:
            stayed.append(camera)
        elif says is None:
            book.remove(camera)
        else:
            book.put(camera, says)
    return stayed
