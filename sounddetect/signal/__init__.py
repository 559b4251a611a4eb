"""Preprocessing, features, augmentation and resampling as torch modules."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
