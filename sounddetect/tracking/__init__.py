"""Experiment trackers: ClearML, TensorBoard, MLflow."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
