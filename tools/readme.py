"""README.md from nbs/index.ipynb, and every address of this project from settings.ini.

    python tools/readme.py            write
    python tools/readme.py --check    exit 1 when something is out of step
"""
import re
import sys
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
INDEX, README = ROOT / "nbs/index.ipynb", ROOT / "README.md"
# Files that people open on their own, so each must hold the whole address.
STAMPED = [INDEX, ROOT / "nbs/colab.ipynb", ROOT / "README.ja.md", *sorted((ROOT / "nbs/tutorials").glob("*.ipynb"))]
NOTICE = "<!-- Made from nbs/index.ipynb by tools/readme.py: edit the notebook, then run `make readme`. -->\n\n"
HIDDEN = re.compile(r"^#\|\s*(hide|default_exp|export)\b", re.M)


def stamp(text):
    """Put user, repo and branch of settings.ini into badge, clone and install addresses."""
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    user, repo, branch = (parser["DEFAULT"][key] for key in ("user", "repo", "branch"))
    part = r"[\w.-]+"
    text = re.sub(
        rf"colab\.research\.google\.com/github/{part}/{part}/blob/{part}/",
        f"colab.research.google.com/github/{user}/{repo}/blob/{branch}/", text)
    text = re.sub(rf"git\+https://github\.com/{part}/{part}@{part}", f"git+https://github.com/{user}/{repo}@{branch}", text)
    return re.sub(rf"git clone https://github\.com/{part}/{part}( {part})?",
                  f"git clone https://github.com/{user}/{repo} {repo}", text)


def render(notebook):
    """Markdown of a notebook: hidden and exported cells left out, stored outputs kept."""
    notebook.cells = [cell for cell in notebook.cells
                      if cell.cell_type != "raw" and not (cell.cell_type == "code" and HIDDEN.search(cell.source))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M)
    notebook.metadata.setdefault("language_info", {"name": "python"})
    markdown, resources = MarkdownExporter().from_notebook_node(notebook)
    if resources["outputs"]:
        raise SystemExit(f"{INDEX}: the README can hold no pictures, found {sorted(resources['outputs'])}")
    return NOTICE + re.sub(r"\n{3,}", "\n\n", markdown).strip() + "\n"


def wanted():
    """Path and text of every file that this script answers for."""
    files = {path: stamp(path.read_text(encoding="utf-8")) for path in STAMPED if path.exists()}
    files[README] = render(nbformat.reads(files[INDEX], as_version=4))
    return files


if __name__ == "__main__":
    stale = [path for path, text in wanted().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of step: run `make readme`", file=sys.stderr)
        sys.exit(bool(stale))
    for path in stale:
        path.write_text(wanted()[path], encoding="utf-8")
        print("wrote", path.relative_to(ROOT))
