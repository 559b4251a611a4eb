"""The command line."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
