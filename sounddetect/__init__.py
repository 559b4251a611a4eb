"""Train, judge and deploy a detector of machine faults from recordings of sound or vibration.

The names of this face are loaded when they are first used, so that `import sounddetect` is quick.
"""
__version__ = "0.1.0"

import gc
import importlib
import pkgutil
import sys

_FACE = {
    "Config": "config",
    "Recording": "data.collection.recordings",
    "Recordings": "data.collection.recordings",
    "concatenate": "data.collection.joining",
    "load_recordings": "data.collection.loading",
    "check_recordings": "data.inspection.checking",
    "plot_check": "jobs.overview",
    "explore": "jobs.exploring",
    "simulate": "data.simulation",
    "Detector": "detector.detector",
    "Exploration": "jobs.exploring",
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
    "tune": "jobs.tuning",
    "compare": "jobs.comparison",
    "label_doubts": "jobs.doubts",
    "trend": "jobs.trends",
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


def _imported(name):
    """A module, imported without collecting garbage meanwhile.

    What large libraries build is no garbage, and to look for some takes a seventh of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if was_enabled:
            gc.enable()


def __getattr__(name):
    if name in _FACE:
        value = getattr(_imported(f"{__name__}.{_FACE[name]}"), name)
        globals()[name] = value
        return value
    if name in _children(__path__):
        return _imported(f"{__name__}.{name}")
    raise AttributeError(f"module 'sounddetect' has no attribute {name!r}; it has {', '.join(_FACE)}")


def __dir__():
    return sorted({*globals(), *_FACE, *_children(__path__)})


def _children(path):
    return [child.name for child in pkgutil.iter_modules(path) if not child.name.startswith("_")]


def _contents(package):
    """`__getattr__` and `__dir__` by which a package offers its modules and the public names in them.

    A module is imported when something of it is used, so that `sounddetect.plotting.plot_roc_curve`
    needs no further import, and `import sounddetect` stays quick.
    """
    path = sys.modules[package].__path__

    def modules():
        found = pkgutil.walk_packages(path, f"{package}.")
        return (_imported(module.name) for module in found if not module.ispkg)

    def find(name):
        if name in _children(path):
            return _imported(f"{package}.{name}")
        for module in () if name.startswith("_") else modules():
            if name in module.__all__:
                return getattr(module, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}; see dir({package})")

    def names():
        public = {name for module in modules() for name in module.__all__}
        return sorted({*vars(sys.modules[package]), *_children(path), *public})

    return find, names
