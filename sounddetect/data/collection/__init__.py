"""Recordings as one collection: labels, groups, manifests, splits."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
