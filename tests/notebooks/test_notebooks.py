"""Every notebook runs from top to bottom, as `nbdev_test` runs it: what it shows holds, and what it refuses is refused."""

import os

import pytest
from support.notebooks import all_notebooks, name, run_notebook

FLAGS = os.environ.get("SOUNDDETECT_FLAGS", "").split()  # `make nightly` runs cells marked as slow, too


@pytest.mark.parametrize("path", all_notebooks(), ids=name)
def test_notebook_runs(path):
    failed = run_notebook(path, FLAGS)
    assert failed is None, failed
