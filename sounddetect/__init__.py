"""Train, judge and deploy a detector of machine faults from recordings of sound or vibration.

The names of this face are loaded when they are first used, so that `import sounddetect` is quick.
"""
__version__ = "0.1.0"

import importlib

_FACE = {
    "Config": "config",
    "Recording": "data.collection.recordings",
    "Recordings": "data.collection.recordings",
    "concatenate": "data.collection.joining",
    "load_recordings": "data.collection.loading",
    "check_recordings": "data.inspection.checking",
    "plot_check": "jobs.overview",
    "simulate": "data.simulation",
    "Detector": "detector.detector",
    "Evaluation": "evaluation.evaluation",
    "evaluate": "evaluation.evaluation",
    "Run": "runs.run_folder",
    "Runs": "runs.index",
    "train": "jobs.training_runs",
    "prepare_training": "jobs.training_runs",
    "prepare_resume": "jobs.training_runs",
    "resume": "jobs.training_runs",
    "plan": "jobs.planning",
    "cross_validate": "jobs.cross_validation",
    "compare": "jobs.comparison",
    "label_doubts": "jobs.doubts",
    "error_cases": "evaluation.errors",
    "errors_by_source": "evaluation.errors",
    "Workbench": "workbench.workbench",
    "register_task": "parts",
    "register_network": "parts",
    "register_estimator": "parts",
    "register_feature": "parts",
    "register_loss": "parts",
    "register_augmentation": "parts",
    "register_reader": "parts",
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
