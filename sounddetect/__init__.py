"""Train, judge and deploy a detector of machine faults from recordings of sound or vibration.

The names of this face are loaded when they are first used, so that `import sounddetect` is quick.
"""
__version__ = "0.1.0"

import importlib

_FACE = {
    "Config": "config",
    "Recording": "data.recordings",
    "Recordings": "data.recordings",
    "load_recordings": "data.loading",
    "check_recordings": "data.checking",
    "plot_check": "runs.overview",
    "simulate": "data.simulation",
    "Detector": "scoring.detector",
    "Evaluation": "runs.evaluation",
    "evaluate": "runs.evaluation",
    "Run": "runs.run_folder",
    "train": "runs.training_runs",
    "prepare_training": "runs.training_runs",
    "prepare_resume": "runs.training_runs",
    "resume": "runs.training_runs",
    "plan": "runs.planning",
    "cross_validate": "runs.cross_validation",
    "compare": "runs.comparison",
    "label_doubts": "runs.doubts",
    "error_cases": "runs.errors",
    "errors_by_source": "runs.errors",
    "Workbench": "app.workbench",
}
__all__ = ["__version__", *_FACE]


def __getattr__(name):
    if name not in _FACE:
        raise AttributeError(f"module 'sounddetect' has no attribute {name!r}; it has {', '.join(_FACE)}")
    value = getattr(importlib.import_module(f"sounddetect.{_FACE[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(_FACE))
