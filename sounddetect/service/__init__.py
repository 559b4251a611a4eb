"""A team's machine as a service: data sets, trainings and models by REST."""

from sounddetect import _contents

__getattr__, __dir__ = _contents(__name__)
