"""Metrics, intervals, thresholds, calibration and comparison: pure functions of arrays."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
