"""Train, resume, plan, cross-validate, compare."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
