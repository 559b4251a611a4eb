"""The training loop, its steps, checkpoints, forecasts and limits."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
