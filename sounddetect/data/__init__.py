"""Recordings: read, stored memory-mapped, looked at, checked, split and simulated."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
