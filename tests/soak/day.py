"""What a day holds, and how much of it one round is.

The assumption: a control room of a dozen people and a page that others look at, twelve cameras' worth of trouble, a
scanner that never rests. A round is a sixtieth of the day, and takes a minute or so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

ROUNDS_A_DAY = 60


@dataclass(frozen=True, slots=True)
class Visits:
    """Guests that are there at the same time, by how they watch."""

    webrtc: int
    pictures: int
    tracks: int
    events: int


@dataclass(frozen=True, slots=True)
class Round:
    """So often each happens in a round.

    `polite`: guests that say goodbye, every third of them only by closing its connections; `killed`: those whose
    process dies. `publishers`: come and go by WHIP. `cameras`: each is added, changed twice and removed over REST.
    `reloads`: of an edited config, and of the model with it, two a time, there and back. `outages`: an RTSP server dies
    and comes back. `scrapes`, `refused`: requests.
    """

    polite: Visits
    killed: Visits
    publishers: int
    cameras: int
    reloads: int
    outages: int
    scrapes: int
    refused: int

    def counts(self) -> dict[str, int]:
        """What happens, by name, for the table."""
        together = {name: value + getattr(self.killed, name) for name, value in asdict(self.polite).items()}
        return {
            "viewers by WebRTC": together["webrtc"],
            "readers of pictures (WebSocket)": together["pictures"],
            "readers of tracks (WebSocket)": together["tracks"],
            "readers of events (SSE)": together["events"],
            "of all these, killed": sum(asdict(self.killed).values()),
            "publishers (WHIP)": self.publishers,
            "cameras added, changed, removed by REST": self.cameras,
            "reloads of an edited config and of the model (SIGHUP)": 2 * self.reloads,
            "RTSP servers that died and came back": self.outages,
            "scrapes of /metrics": self.scrapes,
            "requests refused": self.refused,
        }


DAY = Round(
    polite=Visits(webrtc=16, pictures=8, tracks=8, events=8),
    killed=Visits(webrtc=8, pictures=4, tracks=4, events=4),
    publishers=1,
    cameras=4,
    reloads=1,
    outages=2,
    scrapes=96,
    refused=96,
)
"""A sixtieth of a day: 1440 viewers, a scrape every 15 seconds, 240 cameras that come and go, 120 outages."""

BRIEF = Round(
    polite=Visits(webrtc=4, pictures=2, tracks=2, events=2),
    killed=Visits(webrtc=0, pictures=2, tracks=2, events=2),
    publishers=1,
    cameras=1,
    reloads=1,
    outages=1,
    scrapes=8,
    refused=12,
)
"""For `make test`. That a viewer by WebRTC was killed is known after half a minute only: the last round has some."""
