"""Every picture: functions of arrays and tables that return a figure."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
