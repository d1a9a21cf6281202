"""YOLO11n-seg with ByteTrack, as a process of its own: a request a line of JSON on stdin, an answer a line on stdout.

Run by `benchmarks.yolo_bytetrack` with the interpreter of `yolo_environment`; imports nothing of this project.
Weights are random, of the packaged yolo11n-seg.yaml, with class scores set so that ten objects are found, as NMS, masks
and tracker would have in a real scene. Frames come by Ultralytics' own stream loader.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
import ultralytics
from torch.utils.flop_counter import FlopCounterMode
from ultralytics import YOLO, settings
from ultralytics.utils.nms import TorchNMS

SIZE = [192, 320]
FOUND, LEAST_SCORE = 10, 0.25
SETTINGS: dict[str, Any] = {
    "imgsz": SIZE,
    "conf": LEAST_SCORE,
    "max_det": FOUND,
    "device": "cpu",
    "verbose": False,
}
SETTLE_S = 2.0


def nms() -> str:
    """Whose non-maximum suppression there is: where torchvision cannot be loaded beside this torch, Ultralytics' own,
    in PyTorch, which then stands in its place.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        stand_in = ModuleType("torchvision")
        stand_in.ops = SimpleNamespace(nms=TorchNMS.nms)  # type: ignore[attr-defined]
        sys.modules["torchvision"] = stand_in
        return "Ultralytics' own"
    return "torchvision"


def scored(model: Any, pictures: list[Any]) -> float:
    """Set the class scores so that about FOUND objects are left after NMS; how many are, on average."""
    heads = [branch[-1] for branch in model.model.model[-1].cv3]
    with torch.no_grad():
        for head in heads:
            head.bias.zero_()
        spread = logits(model, pictures).std()
        for head in heads:
            head.weight.mul_(1 / spread)
        ordered = logits(model, pictures).sort(dim=1, descending=True).values.median(0).values
        threshold = torch.logit(torch.tensor(LEAST_SCORE))
        kept = 0.0
        before = torch.tensor(0.0)
        for candidates in (10, 12, 15, 20, 30, 40, 60, 80, 120):
            shift = threshold - ordered[candidates]
            for head in heads:
                head.bias.add_(shift - before)
            before = shift
            kept = float(np.mean([len(model.predict(p, **SETTINGS)[0]) for p in pictures]))
            if kept >= FOUND - 0.5:
                break
            model.predictor = None  # its copy has the old scores
    return kept


def logits(model: Any, pictures: list[Any]) -> torch.Tensor:
    """The best class's logit of each anchor, (pictures, anchors)."""
    model.model.eval()
    small = np.stack([cv2.resize(p, (SIZE[1], SIZE[0])) for p in pictures])
    images = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
    out = model.model(images)
    while isinstance(out, tuple | list):
        out = out[0]
    return torch.logit(out[:, 4:84].amax(1))


def load(request: dict[str, Any]) -> dict[str, Any]:
    """The model for `engine` (torch, or openvino, converted into `folder`), and what it is."""
    global model
    settings.update({"sync": False})
    torch.manual_seed(0)
    torch.set_num_threads(request["threads"])
    cv2.setNumThreads(request["threads"])
    whose = nms()
    pictures = list(np.load(request["pictures"]))
    model = YOLO("yolo11n-seg.yaml", task="segment")
    kept = scored(model, pictures)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.model(torch.zeros(1, 3, *SIZE))
    if request["engine"] == "openvino":
        model.ckpt_path = str(Path(request["folder"]) / "yolo11n-seg.pt")
        model.model.pt_path = model.ckpt_path
        model = YOLO(model.export(format="openvino", imgsz=SIZE, verbose=False), task="segment")
    return {
        "version": ultralytics.__version__,
        "nms": whose,
        "found": round(kept, 1),
        "gflop": counter.get_total_flops() / 1e9,
    }


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Track `url` for `seconds` after it has settled: frames, seconds of wall and processors, objects, stages in ms."""
    stream = model.track(request["url"], stream=True, persist=True, tracker="bytetrack.yaml", **SETTINGS)
    frames, objects, tracked, began, wall, cpu = 0, 0, 0, 0.0, 0.0, 0.0
    stages: dict[str, list[float]] = {}
    for result in stream:
        now = time.monotonic()
        began = began or now
        if not wall or now - began < SETTLE_S:
            wall, cpu = now, time.process_time()
            continue
        frames, objects = frames + 1, objects + len(result)
        tracked += 0 if result.boxes.id is None else len(result.boxes.id)
        if result.masks is not None:
            result.masks.data.numpy()
        for stage, spent in result.speed.items():
            stages.setdefault(stage, []).append(spent)
        if now - wall >= request["seconds"]:
            break
    spent_s, cpu_s = time.monotonic() - wall, time.process_time() - cpu
    model.predictor.dataset.close()
    stream.close()
    return {
        "frames": frames,
        "wall_s": spent_s,
        "cpu_s": cpu_s,
        "objects": objects / max(1, frames),
        "tracked": tracked / max(1, frames),
        "format": getattr(model.predictor.model, "format", "unknown"),
        "precision": precision(),
        "stages_ms": {stage: round(median(each), 2) for stage, each in stages.items()},
    }


def precision() -> str:
    """What the model is computed in: OpenVINO's own choice, or torch's."""
    compiled = getattr(model.predictor.model.backend, "ov_compiled_model", None)
    if compiled is None:
        return "float16" if model.predictor.model.fp16 else "float32"
    return str(compiled.get_property("INFERENCE_PRECISION_HINT")).split("'")[1]  # <Type: 'bfloat16'>


if __name__ == "__main__":
    answers = sys.stdout
    sys.stdout = sys.stderr  # what Ultralytics prints
    model: Any = None
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps({"load": load, "run": run}[asked["do"]](asked)), file=answers, flush=True)
