"""A Mask2Former of `transformers` as an online tracker, as MinVIS is: frame by frame, matched by queries.

MinVIS (Huang et al., NeurIPS 2022): no window and no memory but the newest frame's query embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from syncvis_online.masks import tracks_of
from syncvis_online.tracker import Detection
from syncvis_online.types import Image, Track, box_of_mask, encode_mask


class FrameByFrame:
    """`model`: a Mask2FormerForUniversalSegmentation; `prepare`: a picture (H, W, 3) to (1, 3, H', W'), 0 to 255.

    Queries that score at least `threshold` are answered with masks of `size` (height, width): class probability x
    mean mask probability inside the mask, as transformers scores them. `own_post_process`: masks by its image
    processor, at 384x384 first and copied from there; else the logits themselves are resized.
    """

    def __init__(
        self,
        model: Any,
        prepare: Callable[[Image], Tensor],
        labels: Sequence[str],
        size: tuple[int, int],
        threshold: float,
        *,
        own_post_process: bool = False,
    ) -> None:
        from transformers import Mask2FormerImageProcessorPil

        self.model = model
        self._prepare, self._labels, self._size, self._threshold = prepare, labels, size, threshold
        self._processor = Mask2FormerImageProcessorPil() if own_post_process else None
        # The processor's mean and spread, in [0, 1] there.
        defaults = Mask2FormerImageProcessorPil()
        device = next(model.parameters()).device
        self._mean, self._std = (
            255 * torch.tensor(x, device=device).view(3, 1, 1)
            for x in (defaults.image_mean, defaults.image_std)
        )
        self._queries: Tensor | None = None
        self._ids: NDArray[np.int64] = np.arange(model.config.num_queries)

    @torch.inference_mode()
    def __call__(self, image: Image) -> tuple[Track, ...]:
        """The tracks of the next frame."""
        output = self._output(image)
        self._match(output)
        if self._processor is not None:
            return self._processed(output)
        label, score, logits = self._scored(output)
        found = [
            Detection(int(self._ids[i]), int(label[i]), float(score[i]), logits[i])
            for i in np.flatnonzero(score >= self._threshold)
        ]
        return tracks_of(found, self._size, self._labels)

    @torch.inference_mode()
    def scores(self, image: Image) -> list[float]:
        """Of all queries on a picture, the best first."""
        return sorted(self._scored(self._output(image))[1].tolist(), reverse=True)

    def _output(self, image: Image) -> Any:
        return self.model(pixel_values=(self._prepare(image).float() - self._mean) / self._std)

    def _match(self, output: Any) -> None:
        """Each query's identity: that of the query of the frame before that is most like it, one to one."""
        queries = normalize(output.transformer_decoder_last_hidden_state.squeeze(), dim=-1)
        if self._queries is not None:
            alike = (queries @ self._queries.T).cpu().numpy()
            now, before = linear_sum_assignment(alike, maximize=True)
            ids = np.empty_like(self._ids)
            ids[now] = self._ids[before]
            self._ids = ids
        self._queries = queries

    def _scored(
        self, output: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, NDArray[np.float32]]]:
        """Label and score of each query (N,), and the mask logits (h, w) of those likely enough to be answered."""
        probability = output.class_queries_logits[0].softmax(-1)[:, :-1]
        best, label = probability.max(-1)
        likely = (best >= self._threshold).nonzero()[:, 0]
        masks = output.masks_queries_logits[0][likely]
        inside = masks > 0
        quality = (masks.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
        score = torch.zeros_like(best)
        score[likely] = best[likely] * quality
        logits = dict(zip(likely.tolist(), masks.cpu().numpy(), strict=True))
        return label.cpu().numpy(), score.cpu().numpy(), logits

    def _processed(self, output: Any) -> tuple[Track, ...]:
        """What `post_process_instance_segmentation` makes of it, which does not say of which query a segment is."""
        assert self._processor is not None
        (told,) = self._processor.post_process_instance_segmentation(
            output, threshold=self._threshold, target_sizes=[self._size]
        )
        segments = told["segmentation"].cpu().numpy()
        tracks = []
        for segment in told["segments_info"]:
            mask = segments == segment["id"]
            if mask.any():
                label = self._labels[segment["label_id"]]
                box = box_of_mask(mask)
                tracks.append(Track(segment["id"] + 1, label, segment["score"], encode_mask(mask), box))
        return tuple(tracks)
