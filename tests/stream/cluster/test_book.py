"""Whatever the network, the clocks and the workers do: no two workers may publish a camera at one time, epochs grow,
and no id is given twice. A whole cluster is played with one true time, workers whose clocks go at other paces from
other beginnings, and messages that are late or lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.cluster.book import MARGIN, SILENT_S, Book
from stream.cluster.cameras import SKIPPED_IDS
from stream.cluster.host import KEPT_S
from stream.cluster.messages import Orders, Report
from stream.cluster.records import BLOCK, Record
from stream.errors import DataError
from tests.support.played_worker import MemoryStorage, PlayedWorker

LEASE_S = 3.0
SETTINGS = {"url": "synthetic:1"}


@dataclass
class Play:
    """A cluster of three workers and two cameras, step by step. `published`: by camera, (epoch, id) in order."""

    workers: list[PlayedWorker]
    storage: MemoryStorage = field(default_factory=MemoryStorage)
    true_s: float = 0.0
    published: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    late: list[tuple[PlayedWorker, Report, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = Book(self.storage, LEASE_S, 0.0)
        for camera in ("door", "yard"):
            self.book.put(camera, SETTINGS)

    def pass_time(self, seconds: float, *, ticks: bool = True) -> None:
        """`ticks`: the controller does what it does all the time; else it is as if it were stopped itself."""
        until_s = self.true_s + seconds
        while self.true_s < until_s:
            self.true_s = min(until_s, self.true_s + (0.4 if ticks else seconds))
            for worker in self.workers:
                worker.true_s = self.true_s
            self.book.tick(self.true_s)
            self.publish()

    def publish(self) -> None:
        """Each worker that runs publishes a new track of each camera that it thinks is its own."""
        for camera in ("door", "yard"):
            holders = [w for w in self.workers if camera in w.cameras and w.cameras[camera].tenure.holds]
            assert len(holders) <= 1, f"{camera} at {self.true_s}: {[w.name for w in holders]}"
            for worker in holders:
                if worker.stopped:
                    continue
                ran = worker.cameras[camera]
                self.published.setdefault(camera, []).append((ran.tenure.epoch, ran.next_id))
                ran.next_id += 1

    def beat(self, worker: PlayedWorker, *, lost: bool = False, late: bool = False) -> None:
        """A report and its answer; `late`: the report arrives at some later time, `lost`: the answer never does."""
        if worker.stopped:
            return
        report, sent_at_s = worker.report()
        if late:
            self.late.append((worker, report, sent_at_s))
            return
        self.arrives(worker, report, sent_at_s, lost=lost)

    def arrives(self, worker: PlayedWorker, report: Report, sent_at_s: float, *, lost: bool) -> None:
        self.book.report(report, self.true_s)
        self.book.tick(self.true_s)
        if not lost and not worker.stopped and self.book.knows(worker.name):
            worker.obey(self.book.orders(worker.name), sent_at_s)


def played(paces: list[float] | None = None) -> Play:
    paces = paces or [1.0, 1.0, 1.0]
    return Play([PlayedWorker(f"w{i}", pace, 1000.0 * i) for i, pace in enumerate(paces)])


def steps() -> st.SearchStrategy[list[tuple[str, int, float]]]:
    """What happens, to which worker, after how many seconds."""
    what = st.sampled_from(
        ["beat"] * 6
        + ["lost", "late", "late arrives", "stop", "continue", "new book", "stall", "drain", "removed", "put"]
        + ["wanted"]
    )
    return st.lists(st.tuples(what, st.integers(0, 2), st.sampled_from([0.1, 0.4, 1.0, 3.5])), max_size=80)


def step(play: Play, what: str, worker: PlayedWorker) -> None:
    match what:
        case "beat" | "lost" | "late":
            play.beat(worker, lost=what == "lost", late=what == "late")
        case "late arrives" if play.late:
            play.arrives(*play.late.pop(0), lost=False)
        case "stop" | "continue":
            worker.stopped = what == "stop"
        case "stall":
            play.pass_time(2.0, ticks=False)
        case "new book":
            play.book = Book(play.storage, LEASE_S, play.true_s)
        case "drain" if play.book.knows(worker.name):
            play.book.drain(worker.name)
        case "wanted":
            play.book.want(1 + play.workers.index(worker), 0.0, play.true_s)
        case "removed" if "yard" in play.book.cameras():
            play.book.remove("yard")
        case "put":
            play.book.put("yard", SETTINGS)


@given(steps(), st.lists(st.floats(0.97, 1.03), min_size=3, max_size=3))
def test_one_at_a_time_epochs_grow_and_no_id_is_given_twice(
    happened: list[tuple[str, int, float]], paces: list[float]
) -> None:
    play = played(paces)
    for what, which, seconds in happened:
        play.pass_time(seconds)
        step(play, what, play.workers[which])
        play.publish()
    for results in play.published.values():
        assert results == sorted(results), "a reader would see one out of order"
        ids = [each for _, each in results]
        assert len(set(ids)) == len(ids)


@given(steps())
def test_all_cameras_are_somewhere_once_all_is_quiet(happened: list[tuple[str, int, float]]) -> None:
    """What came before does not matter, when the workers are well again."""
    play = played()
    for what, which, seconds in happened:
        play.pass_time(seconds)
        step(play, what, play.workers[which])
    for worker in play.workers:
        worker.stopped = worker.draining = False  # as of processes that were started anew
    play.late.clear()
    play.book = Book(play.storage, LEASE_S, play.true_s)
    play.book.put("yard", SETTINGS)
    for _ in range(40):
        play.pass_time(0.3)
        for worker in play.workers:
            play.beat(worker)
    assert play.book.unassigned() == []
    before = {camera: len(results) for camera, results in play.published.items()}
    play.pass_time(0.1)
    assert all(len(play.published[camera]) > before.get(camera, 0) for camera in ("door", "yard"))


def started(workers: int = 2) -> Play:
    """Two cameras, on a worker each."""
    play = Play([PlayedWorker(f"w{i}") for i in range(workers)])
    for _ in range(15):
        play.pass_time(0.3)
        for worker in play.workers:
            play.beat(worker)
    assert sum(bool(worker.cameras) for worker in play.workers) == min(workers, 2)
    return play


def test_a_process_that_is_gone_for_certain_is_followed_at_once() -> None:
    play = started()
    dead, other = play.workers
    (camera,) = dead.cameras
    epoch, last = play.published[camera][-1]
    play.workers.remove(dead)
    play.book.died(dead.name)
    play.pass_time(0.1)
    play.beat(other)
    assert other.cameras[camera].tenure.epoch == epoch + 1
    assert other.cameras[camera].next_id > last + SKIPPED_IDS - 100
    late, _ = dead.report()
    play.book.report(late, play.true_s)
    assert not play.book.knows(dead.name), "what was on its way brings nobody back"


def test_one_that_only_fell_silent_is_waited_for() -> None:
    play = started()
    silent, other = play.workers
    (camera,) = silent.cameras
    silent.stopped = True
    (epoch, last), fell_silent_s = play.published[camera][-1], play.true_s
    while camera not in other.cameras:
        play.pass_time(0.1)
        play.beat(other)
    assert play.true_s - fell_silent_s <= SILENT_S + 0.2, "others get ready for it soon"
    while play.published[camera][-1] == (epoch, last):
        play.pass_time(0.1)
        play.beat(other)
    assert LEASE_S < play.true_s - fell_silent_s <= MARGIN * LEASE_S + 0.2
    assert play.published[camera][-1][0] == epoch + 1
    silent.stopped = False
    play.beat(silent)
    silent.report()
    assert camera not in silent.cameras
    assert play.book.table().conflicts == 1


def test_who_got_ready_for_nothing_lets_go_and_has_published_nothing() -> None:
    play = started()
    slow, other = play.workers
    (camera,) = slow.cameras
    while camera not in other.cameras:
        play.pass_time(0.1)
        play.beat(other)
    play.beat(slow)
    play.beat(other)
    play.beat(other)
    assert camera not in other.cameras
    play.pass_time(0.1)
    assert slow.cameras[camera].tenure.holds
    assert {each for each, _ in play.published[camera]} == {1}
    assert play.book.table().failovers == 0


def test_a_controller_that_was_stopped_itself_takes_no_worker_for_lost() -> None:
    play = started()
    before = {camera: epochs_of(play, camera) for camera in ("door", "yard")}
    play.pass_time(2 * LEASE_S, ticks=False)
    for worker in play.workers:
        play.beat(worker)
    play.pass_time(0.1)
    assert {camera: epochs_of(play, camera) for camera in ("door", "yard")} == before
    assert all(len(worker.cameras) == 1 for worker in play.workers), "the first who is heard gets not all"


def test_a_controller_that_is_always_late_gives_cameras_all_the_same() -> None:
    play = played()
    for _ in range(8):
        play.pass_time(1.5, ticks=False)
        for worker in play.workers:
            play.beat(worker)
    assert play.book.unassigned() == []


def epochs_of(play: Play, camera: str) -> set[int]:
    return {epoch for epoch, _ in play.published[camera]}


@settings(max_examples=30)
@given(steps())
def test_what_is_kept_up_to_date_is_what_a_look_at_everything_finds(
    happened: list[tuple[str, int, float]],
) -> None:
    play = played()
    told: dict[str, Orders] = {}
    for what, which, seconds in happened:
        for doing in (partial(play.pass_time, seconds), partial(step, play, what, play.workers[which])):
            book = play.book
            doing()
            if play.book is not book:
                told.clear()
            changed = play.book.changed()
            leases, records = play.book._leases._by_camera, play.book._cameras._records
            there = {name for name, record in records.items() if record.settings is not None}
            assert set(play.book.unassigned()) == there - leases.keys()
            assert len(play.book) == len(there) == len(play.book.cameras())
            for worker in filter(play.book.knows, ("w0", "w1", "w2")):
                orders = orders_by_all(play.book, worker)
                assert play.book.orders(worker) == orders
                if worker not in changed and what not in ("beat", "lost", "late arrives"):
                    assert told.get(worker, orders) == orders, "it would not be told"
                told[worker] = orders
        assert all(play.true_s < play.book._over_s(lease) for lease in leases.values()), "it is over"


def orders_by_all(book: Book, worker: str) -> Orders:
    """What `Book.orders` has to say, by all leases that there are."""
    records, report = book._cameras._records, book._workers[worker].report
    hold, prepare, begin = {}, {}, []
    for camera, lease in sorted(book._leases._by_camera.items()):
        record = records[camera]
        if record.settings is None:
            continue
        if lease.worker == worker and lease.leaving_for is None:
            hold[camera] = lease.epoch
            held = report.holding.get(camera)
            if held is None or (held.epoch, held.revision) != (lease.epoch, record.revision):
                begin.append(camera)
        if lease.heir == worker:
            prepare[camera] = record.epoch + 1
            if report.prepared.get(camera) != record.epoch + 1:
                begin.append(camera)
    orders = book.orders(worker)
    assert sorted(each.camera for each in orders.begin) == sorted(begin)
    return Orders(LEASE_S, hold, orders.begin, prepare, orders.draining)


def test_a_move_in_good_order_gives_on_the_very_last_state() -> None:
    play = started()
    leaving, other = play.workers
    (camera,) = leaving.cameras
    play.book.drain(leaving.name)
    for _ in range(4):
        play.pass_time(0.3)
        for worker in play.workers:
            play.beat(worker)
    assert camera in other.cameras
    assert not leaving.cameras
    ids = [each for _, each in play.published[camera]]
    assert ids == list(range(ids[0], ids[0] + len(ids))), "no id had to be skipped"
    assert play.book.table().moves == 1
    assert play.book.table().failovers == 0


def test_who_is_drained_stays_so_for_a_controller_that_begins_anew() -> None:
    play = started()
    leaving, other = play.workers
    play.book.drain(leaving.name)
    assert leaving.name in play.book.changed(), "it hears of it at once"
    play.beat(leaving)
    play.book = Book(play.storage, LEASE_S, play.true_s)
    for _ in range(20):
        play.pass_time(0.3)
        for worker in play.workers:
            play.beat(worker)
    assert [each.draining for each in play.book.table().workers] == [True, False]
    assert not leaving.cameras
    assert other.cameras.keys() == {"door", "yard"}


def test_who_dies_before_its_first_report_may_have_given_ids() -> None:
    play = started(3)
    leaving = next(worker for worker in play.workers if "door" in worker.cameras)
    play.book.drain(leaving.name)
    others = [worker for worker in play.workers if worker is not leaving]
    for _ in range(4):
        play.pass_time(0.3)
        play.beat(leaving)
    while not any("door" in worker.cameras for worker in others):
        for worker in others:
            play.beat(worker)
    play.publish()
    taken = next(worker for worker in others if "door" in worker.cameras)
    play.workers.remove(taken)
    play.book.died(taken.name)
    for _ in range(4):
        play.pass_time(0.3)
        for worker in play.workers:
            play.beat(worker)
    ids = [each for _, each in play.published["door"]]
    assert len(set(ids)) == len(ids)
    assert max(epoch for epoch, _ in play.published["door"]) == 3


def test_what_cannot_be_written_down_is_not_given() -> None:
    play = Play([PlayedWorker("w0")])
    for _ in range(8):
        play.pass_time(0.5)
    play.storage.full = True
    with pytest.raises(OSError, match="no space"):
        play.beat(play.workers[0])
    assert play.book.unassigned() == ["door", "yard"]
    play.storage.full = False
    play.beat(play.workers[0])
    assert play.book.unassigned() == []


@pytest.mark.parametrize(
    ("away_s", "lasts"), [(LEASE_S + 0.9 * KEPT_S, {1}), (LEASE_S + 1.1 * KEPT_S, {1, 2})]
)
def test_a_controller_that_is_away_for_longer_than_a_lease_costs_no_identity(
    away_s: float, lasts: set[int]
) -> None:
    """Its worker publishes nothing meanwhile. It has the camera still, and is given it back at once; or it has let go,
    and says what its tracker was like at the end.
    """
    play = started(1)
    before = len(play.published["door"])
    play.true_s += away_s
    play.workers[0].true_s = play.true_s
    play.book = Book(play.storage, LEASE_S, play.true_s)
    play.publish()
    assert len(play.published["door"]) == before, "its lease was over"
    play.beat(play.workers[0])
    play.publish()
    assert (len(play.published["door"]) > before) == (len(lasts) == 1), "back with the first report"
    for _ in range(15):
        play.pass_time(0.3)
        play.beat(play.workers[0])
    for camera in ("door", "yard"):
        epochs, ids = zip(*play.published[camera], strict=True)
        assert set(epochs) == lasts
        assert list(ids) == list(range(ids[0], ids[0] + len(ids))), "none was skipped"


def test_a_lost_state_costs_the_numbers_and_no_more() -> None:
    """The controller and the worker are gone together: only what is stored is left."""
    play = started(1)
    last = {camera: results[-1] for camera, results in play.published.items()}
    play.workers[:] = [PlayedWorker("w9", true_s=play.true_s)]
    play.book = Book(play.storage, LEASE_S, play.true_s)
    for _ in range(15):
        play.pass_time(0.3)
        play.beat(play.workers[0])
    for camera, (epoch, number) in last.items():
        ran = play.workers[0].cameras[camera]
        assert ran.tenure.epoch == epoch + 1
        assert number < ran.next_id <= number + 3 * BLOCK


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"format": "other"}', b'{"format": 1, "password": "x"}', b"[1]"]
)
def test_damaged_records_are_named_and_not_repeated(data: bytes) -> None:
    with pytest.raises(DataError, match="camera door") as caught:
        Record.from_json("door", data)
    assert "password" not in str(caught.value)
    record = Record(SETTINGS, epoch=3)
    assert Record.from_json("door", record.to_json()) == record
    with pytest.raises(DataError):
        Record.from_json("door", replace(record, epoch=-1).to_json())
