"""What is learnt: how recordings are split, answered and judged."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
