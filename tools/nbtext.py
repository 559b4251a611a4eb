"""Edit notebooks as text.

    python tools/nbtext.py pull [NOTEBOOK ...]    nbs/X.ipynb -> .nbtext/X.py (py:percent, ignored by git)
    python tools/nbtext.py push [NOTEBOOK ...]    .nbtext/X.py -> nbs/X.ipynb, ids and unchanged outputs kept
    python tools/nbtext.py run  [NOTEBOOK ...]    execute in a fresh kernel, keep the outputs

NOTEBOOK is a path below nbs/ without its suffix, such as 01_data/0_simulation. None means all.
"""
import hashlib
import os
import sys
from pathlib import Path

import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("MATPLOTLIBRC", str(ROOT / "tools" / "matplotlibrc"))      # small pictures
NOTEBOOKS, TEXTS = ROOT / "nbs", ROOT / ".nbtext"
PERCENT = {"extension": ".py", "format_name": "percent"}
PLAIN_TEXT = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags,cellView,jupyter,-all"}
KERNEL = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}


def names(folder, suffix):
    found = sorted(folder.rglob(f"*{suffix}"))
    return [str(path.relative_to(folder).with_suffix("")) for path in found if ".ipynb_checkpoints" not in path.parts]


def write(notebook, path):
    """Write as nbdev_clean would leave it, so that cleaning makes no difference."""
    from execnb.nbio import read_nb, write_nb
    from nbdev.clean import clean_nb

    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    cleaned = read_nb(path)
    clean_nb(cleaned, allowed_metadata_keys=["accelerator", "colab"], allowed_cell_metadata_keys=["tags", "cellView", "jupyter"])
    write_nb(cleaned, path)


def pull(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)
    notebook.metadata["jupytext"] = dict(PLAIN_TEXT)
    text = TEXTS / f"{name}.py"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text(jupytext.writes(notebook, PERCENT), encoding="utf-8")


def push(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = jupytext.reads((TEXTS / f"{name}.py").read_text(encoding="utf-8"), PERCENT)
    metadata, known = KERNEL, set()
    if path.exists():
        old = nbformat.read(path, 4)
        metadata, known = dict(old.metadata), {cell.id for cell in old.cells}
        notebook = combine_inputs_with_outputs(notebook, old, PERCENT)
    notebook.metadata = {key: value for key, value in metadata.items() if key != "jupytext"}
    notebook.nbformat_minor = 5
    give_ids(notebook, name, known)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(notebook, path)


def give_ids(notebook, name, known):
    """A new cell's id depends on its text alone, so that pushing twice changes nothing."""
    seen = set()
    for cell in notebook.cells:
        if cell.get("id") not in known or cell.id in seen:
            attempt = 0
            while True:
                digest = hashlib.sha1(f"{name}\0{cell.source}\0{attempt}".encode()).hexdigest()[:8]
                if digest not in seen | known:
                    break
                attempt += 1
            cell["id"] = digest
        seen.add(cell.id)


def run(name):
    """Execute from top to bottom beside the notebook, as nbdev_test does."""
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    os.environ |= {"IN_TEST": "1", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore::UserWarning"}      # no timings, no paths in outputs
    flagged = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith("#| cuda")]
    for cell in flagged:                         # as nbdev_test: not where there may be no GPU
        cell.metadata["tags"] = ["skip-execution"]
    kernel = dict(timeout=900, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}})
    NotebookClient(notebook, store_widget_state=False, **kernel).execute()      # the state of all widgets is larger than all else
    for cell in flagged:
        del cell.metadata["tags"]
    write(notebook, path)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("pull", "push", "run"):
        sys.exit(__doc__)
    verb, *chosen = sys.argv[1:]
    for name in chosen or (names(TEXTS, ".py") if verb == "push" else names(NOTEBOOKS, ".ipynb")):
        {"pull": pull, "push": push, "run": run}[verb](name)
        print(verb, name)
