"""A detector for tests."""

from shopsearch.detectors.base import Detector
from shopsearch.exceptions import DetectorError
from shopsearch.types import Proposal


class MugAndLamp(Detector):
    """Sees a mug on the left and a lamp on the right of everything, or is away."""

    seen = ()
    is_away = False

    def detect(self, picture):
        type(self).seen = picture.size
        if self.is_away:
            raise DetectorError("out of memory on gpu-7")
        boxes = (("lamp", 0.55, 0.5, 0.6), ("mug", 0.1, 0.2, 0.9))
        return [
            Proposal(x=x, y=0.25, width=width, height=0.5, score=score, label=label)
            for label, x, width, score in boxes
        ]
