"""Class names of data sets that weights are published for, by their number (the order is the data set's)."""

from __future__ import annotations

COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign "
    "parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie "
    "suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard "
    "tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot "
    "hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)

KNOWN_LABELS: dict[int, tuple[str, ...]] = {80: tuple(name.replace("_", " ") for name in COCO.split())}
"""Where the number of classes tells the data set. YouTube-VIS 2019 and 2021 both have 40, in different orders."""
