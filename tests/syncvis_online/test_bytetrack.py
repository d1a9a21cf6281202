"""Boxes followed by ByteTrack, on the embedded world with the weights that ship."""

from __future__ import annotations

from collections import Counter

import pytest

from syncvis_online.errors import ConfigError
from syncvis_online.evaluation.bytetrack import LOW_SCORE, ByteTrackVideoTracker
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.online import load_tracker


def test_what_a_window_finds_is_followed_by_its_boxes() -> None:
    (video,) = open_videos("synthetic:medium?seeds=3-3&frames=12")
    loaded = load_tracker("default", settings={"max_lost_s": 0.5})
    tracker = ByteTrackVideoTracker(loaded)
    assert tracker.labels == loaded.labels
    answers = list(tracker.track_video(video.frames(), video.fps, "streaming"))
    assert [answer.frame_index for answer in answers] == list(range(12))
    lives: Counter[int] = Counter()
    for answer in answers:
        ids = [track.track_id for track in answer.tracks]
        assert len(set(ids)) == len(ids)
        assert all(i >= 1 for i in ids)
        assert all(track.score >= LOW_SCORE for track in answer.tracks)
        lives.update(ids)
    assert lives.most_common(1)[0][1] >= 8  # an identity lasts
    assert len(lives) >= 3
    again = list(tracker.track_video(video.frames(), video.fps, "streaming"))
    assert again == answers  # a video begins anew


def test_there_is_no_other_mode_than_streaming() -> None:
    tracker = ByteTrackVideoTracker(load_tracker("default"))
    with pytest.raises(ConfigError, match="no offline mode"):
        next(tracker.track_video(iter(()), 10.0, "offline"))
