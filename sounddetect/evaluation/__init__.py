"""One detector judged: metrics, errors, report."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
