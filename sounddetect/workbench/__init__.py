"""The user interface in a notebook or a browser."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
