"""What was read once, kept as flat samples and mapped into memory."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
