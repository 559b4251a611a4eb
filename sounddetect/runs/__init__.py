"""The folder of a run: settings, data, progress, weights."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
