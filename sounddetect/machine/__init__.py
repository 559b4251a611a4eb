"""Devices, memory and processes."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
