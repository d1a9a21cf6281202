"""The synthetic world: a deterministic, seeded, endless camera with exact ground truth."""

from syncvis_online.data.synthetic.export import write_youtube_vis
from syncvis_online.data.synthetic.level import LevelConfig, load_level
from syncvis_online.data.synthetic.world import (
    GroundTruthObject,
    SyntheticFrame,
    SyntheticWorld,
    render_video,
)

__all__ = [
    "GroundTruthObject",
    "LevelConfig",
    "SyntheticFrame",
    "SyntheticWorld",
    "load_level",
    "render_video",
    "write_youtube_vis",
]
