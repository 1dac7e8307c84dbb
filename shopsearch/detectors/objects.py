"""Object detection with transformers' own models; no code that comes with a checkpoint is run.

DETR (Carion et al., https://arxiv.org/abs/2005.12872), YOLOS (Fang et al., https://arxiv.org/abs/2106.00666), RT-DETR
(Zhao et al., https://arxiv.org/abs/2304.08069) and whatever else transformers has as AutoModelForObjectDetection.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf
from shopsearch.detectors.base import Detector
from shopsearch.embedders.torch_model import device_of
from shopsearch.exceptions import DetectorError
from shopsearch.rerankers.vision_models import checkpoints
from shopsearch.threads import loaded_once
from shopsearch.types import Proposal

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(kw_only=True, eq=False)
class ObjectDetector(Detector):
    """Finds objects of the classes that its model was trained on: of COCO's 80, for most models."""

    checkpoint: str = "hustvl/yolos-tiny"
    """A folder with config.json, preprocessor_config.json and *.safetensors, or a name on the Hugging Face hub."""
    revision: str = ""
    """The hub's commit, tag or branch; "" is its main branch."""
    device: str = "auto"
    """A torch device; "auto" is the GPU where there is one, else the CPU."""
    threshold: float = 0.5
    """The score from which an object is proposed, from 0 to 1."""
    most: int = 6
    """How many are proposed at most, up to 20."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "safetensors")
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def detect(self, picture: Image) -> list[Proposal]:
        with self._lock:
            processor, model = self._loaded
            import torch

            try:
                inputs = processor(images=picture.convert("RGB"), return_tensors="pt").to(model.device)
                with torch.inference_mode():
                    outputs = model(**inputs)
                [found] = processor.post_process_object_detection(
                    outputs, threshold=self.threshold, target_sizes=[(1, 1)]
                )
            except (RuntimeError, ValueError) as error:  # the GPU is full, or the picture is too thin
                raise DetectorError(f"The detector cannot answer: {error}") from error
        names = model.config.id2label
        rows = zip(found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
        return [
            Proposal(
                x=left,
                y=top,
                width=right - left,
                height=bottom - top,
                score=score,
                label=str(names.get(label, "")),
            )
            for (left, top, right, bottom), score, label in rows
        ]

    @loaded_once
    def _loaded(self) -> tuple[Any, Any]:
        """The processor and the model."""
        conf.require_packages(*self.packages)
        import transformers

        path = checkpoints.find(self.checkpoint, self.revision)
        checkpoints.verify(path)
        try:
            kept_here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            auto: Any = transformers  # whose from_pretrained is not typed
            processor = auto.AutoImageProcessor.from_pretrained(path, **kept_here)
            model = auto.AutoModelForObjectDetection.from_pretrained(path, use_safetensors=True, **kept_here)
            return processor, model.to(device_of(self.device)).eval()
        except Exception as error:  # the files may come from anywhere and cause any error
            raise ImproperlyConfigured(
                f"{path} is no object detector that the installed transformers can load: {error}"
            ) from error

    def check(self) -> list[CheckMessage]:
        wrong = []
        if not 0 <= self.threshold <= 1:
            wrong.append("threshold is a number from 0 to 1.")
        if self.most < 1:
            wrong.append("most is a whole number, 1 or more.")
        wrong += checkpoints.problems_of(self.checkpoint)
        hint = "See the options of shopsearch.detectors.objects.ObjectDetector."
        return [Error(message, hint=hint, id="shopsearch.E023") for message in wrong]
