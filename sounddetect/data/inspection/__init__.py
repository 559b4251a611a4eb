"""What is in recordings, and everything that is wrong with them."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
