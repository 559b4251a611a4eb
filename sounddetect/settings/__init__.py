"""Sections of the configuration: typed, checked, explained, and read from files of every age."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
