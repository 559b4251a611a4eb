"""From files of every form to samples."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
