"""Detectors: models that propose the parts of a picture in which there is an object."""

from shopsearch.detectors.base import Detector

__all__ = ["Detector"]
