"""The house stands as drawn: direction of imports, notebooks and modules in pairs, one place for each fact."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from configparser import ConfigParser

import pytest
from support.commands import ROOT, environment, run_in

import sounddetect
from sounddetect.config import Config

PACKAGE, NOTEBOOKS = ROOT / "sounddetect", ROOT / "nbs"
# Floors from below, each with its households in order; a module imports from what stands before its household.
FLOORS = [
    ["parts", "files", "html", "foreign_text", "languages", "progress", "settings", "config"],
    ["data.beats", "data.simulation", "data.sounds", "data.readers", "data.store", "data.collection", "data.inspection"],
    ["machine", "signal"],
    ["models"],
    ["judging"],
    ["tasks"],
    ["detector"],
    ["training"],
    ["plotting"],
    ["runs", "tracking", "evaluation"],
    ["jobs"],
    ["workbench", "service", "cli", "testing"],
]
HOUSEHOLDS = [household for floor in FLOORS for household in floor]
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py", "_modidx.py")
}
TRACKERS = {"clearml", "tensorboard", "wandb", "mlflow"}
WIDGETS = {"ipywidgets", "IPython"}
# What a floor may not know, beside the floors above it (table in the design): floors and libraries.
FOREIGN = {
    "data": {"torch"},
    "machine": {"data"},
    "signal": {"data", "soundfile"},
    "models": {"data", "training"},
    "judging": {"torch", "tasks", "config"},
    "tasks": {"training", "files"} | WIDGETS,
    "detector": {"training"},
    "training": {"plotting", "matplotlib"} | WIDGETS | TRACKERS,
    "plotting": {"data", "training"},
    "runs": WIDGETS,
    "tracking": WIDGETS,
    "evaluation": WIDGETS,
    "jobs": WIDGETS,
}


def read(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook["cells"]


def default_exp(cells):
    found = [match[1] for cell in cells if (match := re.search(r"^#\|\s*default_exp (\S+)", cell["source"], re.M))]
    return found[0] if found else None


ALL_NOTEBOOKS = [path for path in sorted(NOTEBOOKS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
EXPORTING = {module: path for path in ALL_NOTEBOOKS if (module := default_exp(read(path)))}


def name(path):
    return path.relative_to(NOTEBOOKS).as_posix() if NOTEBOOKS in path.parents else path.relative_to(ROOT).as_posix()


def household(module):
    """The household that a module lives in, such as data.readers, cli, or files."""
    names = module.split(".")
    return next(found for n in (2, 1) if (found := ".".join(names[:n])) in HOUSEHOLDS)


def place(module):
    """What a module may import comes from a household before its own, or from its own."""
    return HOUSEHOLDS.index(household(module))


def imports(code, package=""):
    """Full names of what Python code imports; `package` is where its relative imports start."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own_modules(names):
    """Modules of this package behind imported names; a name of the face counts as the module it comes from."""
    for full in names:
        parts = full.split(".")
        if parts[0] != "sounddetect":
            continue
        if len(parts) == 2 and parts[1] in sounddetect._FACE:
            yield sounddetect._FACE[parts[1]]
        else:
            inner = [".".join(parts[1:n]) for n in range(len(parts), 1, -1)]
            yield from [module for module in inner if module in MODULES][:1]


def module_imports(module):
    package = ".".join(["sounddetect", *module.split(".")[:-1]])
    return list(imports(MODULES[module].read_text(encoding="utf-8"), package))


def code_of(cells):
    """Python of all code cells, magics left out."""
    lines = "\n".join(
        cell["source"] for cell in cells if cell["cell_type"] == "code" and not cell["source"].startswith("%%")
    ).split("\n")
    return "\n".join(line for line in lines if not re.match(r"\s*[%!]", line))


def exported(cells):
    return [
        cell["source"]
        for cell in cells
        if cell["cell_type"] == "code" and re.search(r"^#\|\s*export\b", cell["source"], re.M)
    ]


def without_docstrings(code):
    """The program alone: what explains it is prose wherever it stands."""
    lines = code.split("\n")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)) and ast.get_docstring(node):
            for number in range(node.body[0].lineno - 1, node.body[0].end_lineno):
                lines[number] = ""
    return "\n".join(lines)


def n_lines(text):
    return sum(bool(line.strip()) for line in text.split("\n"))


# --- direction -------------------------------------------------------------------------------------------------------


def test_there_is_a_house():
    """Else every test below would pass on nothing."""
    assert len(MODULES) > 20 and len(EXPORTING) > 20


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_below(module):
    above = [other for other in own_modules(module_imports(module)) if place(other) > place(module)]
    assert not above, f"{module} imports {', '.join(above)}, which stands above it"


def test_modules_of_a_household_import_without_circles():
    waiting = {module: set(own_modules(module_imports(module))) & set(MODULES) - {module} for module in MODULES}
    while ready := [module for module, needs in waiting.items() if not needs & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert not waiting, f"these import each other: {', '.join(waiting)}"


@pytest.mark.parametrize("module", MODULES)
def test_module_knows_nothing_of_what_its_floor_must_not_know(module):
    names = module_imports(module)
    known = {full.split(".")[0] for full in names} | {other.split(".")[0] for other in own_modules(names)}
    assert not known & FOREIGN.get(module.split(".")[0], set())


@pytest.mark.parametrize("path", EXPORTING.values(), ids=name)
def test_notebook_imports_only_from_below(path):
    """Examples and tests too: who reads from below meets nothing that is not known yet."""
    cells = read(path)
    mine = default_exp(cells)
    above = {other for other in own_modules(imports(code_of(cells))) if place(other) > place(mine)}
    assert not above, f"{name(path)} imports {', '.join(sorted(above))}"


@pytest.mark.parametrize("module", [module for module in MODULES if household(module) != "models"])
def test_inside_of_a_network_is_known_to_models_alone(module):
    """Others ask for capabilities, which a network of somebody else can have too."""
    code = MODULES[module].read_text(encoding="utf-8")
    assert not re.findall(r"\b(deep_path|short_path|band_scale|statistics_scale|from_bands|\w*\.bank)\b", code)


def test_data_needs_no_torch():
    modules = [f"sounddetect.{module}" for module in MODULES if module.split(".")[0] in ("config", "data")]
    assert loaded_by(*modules) & {"torch", "matplotlib"} == set()


# --- pairs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
def test_module_names_the_notebook_it_comes_from(module):
    """`nbdev_export` leaves the module of a deleted notebook where it is."""
    said = re.search(r"File to edit: (\S+\.ipynb)", MODULES[module].read_text(encoding="utf-8"))
    assert said, "the line that names the notebook is missing"
    assert (MODULES[module].parent / said[1]).resolve() == EXPORTING.get(module)


@pytest.mark.parametrize("module", EXPORTING)
def test_exporting_notebook_has_its_module(module):
    assert module in MODULES


def test_notebooks_export_different_modules():
    assert len(EXPORTING) == sum(default_exp(read(path)) is not None for path in ALL_NOTEBOOKS)


def public_names(module):
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no __all__")


def test_no_public_name_comes_from_two_modules():
    homes = {}
    for module in MODULES:
        for public in public_names(module):
            homes.setdefault(public, []).append(module)
    # A name of the face is a command as well: there it is not meant to be imported.
    double = {
        public: found
        for public, found in homes.items()
        if len([module for module in found if not module.endswith("commands")]) > 1
    }
    assert not double


# --- importing -------------------------------------------------------------------------------------------------------


def python(code, folder=ROOT):
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def loaded_by(*modules):
    code = f"""
import importlib, sys
for name in {modules!r}: importlib.import_module(name)
print(*{{module.split(".")[0] for module in sys.modules}})
"""
    return set(python(code).split())


def test_names_of_the_face_survive_any_order_of_imports():
    """A submodule called like a function of the face would take its place as soon as it is imported."""
    python(f"""
import importlib, os, random, types
import matplotlib.pyplot, pandas, sklearn.metrics, torch
names = {sorted(f"sounddetect.{module}" for module in MODULES)!r}
for seed in range(3):
    random.Random(seed).shuffle(names)
    if not os.fork():                                    # a copy with the large libraries imported
        for name in names: importlib.import_module(name)
        import sounddetect
        for name in sounddetect.__all__:
            value = getattr(sounddetect, name)
            assert not isinstance(value, types.ModuleType), name
            assert name == "__version__" or callable(value), name
        break
    assert os.wait()[1] == 0, names
""")


def test_import_of_the_package_is_light():
    assert (
        loaded_by("sounddetect")
        & {"torch", "matplotlib", "pandas", "clearml", "ipywidgets", "sklearn", "scipy", "numpy"}
        == set()
    )


def test_no_module_needs_the_tools_it_was_written_with():
    assert (
        loaded_by(*(f"sounddetect.{module}" for module in MODULES)) & {"nbdev", "fastcore", "execnb", "pytest", "ghapi"}
        == set()
    )


def test_unknown_name_of_the_face_is_refused_with_the_names_it_has():
    with pytest.raises(AttributeError, match="no_such_name.*Detector"):
        sounddetect.no_such_name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py"))[1:], ids=lambda path: path.parent.name)
def test_package_says_what_it_is_and_offers_what_is_in_it(path):
    """`sounddetect.plotting.plot_roc_curve` needs no import of a module, and `help(sounddetect.plotting)` says something."""
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{name(path)} has no docstring"
    assert text.endswith("__getattr__, __dir__ = _contents(__name__)\n"), "ends in what the other packages end in"


def test_packages_are_there_without_an_import():
    python("""
import sys, sounddetect as sd
assert "sounddetect.plotting" not in sys.modules
assert sd.parts.names("network") and "torch" not in sys.modules
assert sd.data.split_recordings is sd.data.collection.splitting.split_recordings
assert callable(sd.plotting.plot_roc_curve) and "plot_roc_curve" in dir(sd.plotting)
assert {"plotting", "parts", "judging"} <= set(dir(sd))
try:
    sd.plotting.plot_nothing
except AttributeError as error:
    assert "has no attribute 'plot_nothing'" in str(error)
else:
    raise AssertionError("a name that is not there was found")
""")


# --- notebooks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXPORTING.values(), ids=name)
def test_notebook_reads_well(path):
    cells = read(path)
    markdown = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
    assert re.match(r"# \S.*\n(\n)?> \S", markdown[0]), "begins with a title and one line on what it gives"
    code = exported(cells)
    share = sum(map(n_lines, markdown)) / sum(n_lines(without_docstrings(cell)) for cell in code)
    assert share >= 0.08, f"prose is {share:.1%} of the exported lines"
    assert path.stat().st_size < 250_000


TEST_CALL = re.compile(
    r"\bassert\b|\btest_(eq|fail|close|ne|is|stdout|warns)\b|\bassert_(close|allclose|array_equal|equal)\b|\btest\("
)


@pytest.mark.parametrize("path", EXPORTING.values(), ids=name)
def test_notebook_shows_a_test(path):
    """Tests are the documentation, so some are visible."""
    visible = [
        cell["source"]
        for cell in read(path)
        if cell["cell_type"] == "code" and not re.search(r"^#\|\s*(hide|export)", cell["source"], re.M)
    ]
    assert any(TEST_CALL.search(source) for source in visible)


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=name)
def test_notebook_has_no_star_import(path):
    assert not re.search(r"^\s*from \S+ import \*", code_of(read(path)), re.M)


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=name)
def test_outputs_hold_no_place_of_the_machine_that_made_them(path):
    for number, cell in enumerate(read(path)):
        outputs = [output for output in cell.get("outputs", []) if output["output_type"] != "error"]
        assert len(outputs) == len(cell.get("outputs", [])), f"cell {number} shows an error that was not expected"
        for output in outputs:
            data = output.get("data", {})
            text = "".join(
                map("".join, [output.get("text", ""), *(data[kind] for kind in data if kind.startswith("text/"))])
            )
            found = re.search(r"(?<!\w)/(root|home|tmp|Users|var|private|mnt|opt)/\S*|\b[A-Z]:\\\S*", text)
            assert not found, f"cell {number} shows {found[0]}"


# --- the repository --------------------------------------------------------------------------------------------------


def git(*words, folder=ROOT):
    result = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    if result.returncode == 128:
        pytest.skip("this is no git repository")
    return result


def test_git_keeps_the_package_and_leaves_what_is_made_by_running():
    ignored = [
        path for path in git("check-ignore", "--no-index", *map(str, PACKAGE.rglob("*.py"))).stdout.split("\n") if path
    ]
    assert not ignored, "modules that git ignores"
    for path in ("data/x.json", "runs/x", ".cache/x", "nbs/01_data/1_readers/.cache/x"):
        assert git("check-ignore", "--no-index", path).returncode == 0, f"{path} would be committed"
    for path in (
        "sounddetect/data/collection/recordings.py",
        "nbs/01_data/3_collection/04_recordings.ipynb",
        "data/README.md",
        *map(str, ALL_NOTEBOOKS),
    ):
        assert git("check-ignore", "--no-index", path).returncode == 1, f"{path} is ignored"


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    """A copy of the repository under another address, and its README written anew."""
    if not (NOTEBOOKS / "index.ipynb").exists():
        pytest.skip("nbs/index.ipynb is not there yet")
    folder = tmp_path_factory.mktemp("fork")
    for path in git("ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines():
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    settings = folder / "settings.ini"
    text = settings.read_text(encoding="utf-8")
    for key, value in (("user", "someone-else"), ("repo", "pump.watch"), ("branch", "next")):
        text = re.sub(rf"^{key} *=.*$", f"{key} = {value}", text, flags=re.M)
    settings.write_text(text, encoding="utf-8")
    made = run_in(folder, sys.executable, "tools/readme.py")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("path", ["README.md", "README.ja.md", "nbs/colab.ipynb"])
def test_fork_is_led_to_itself(fork, path):
    if not (ROOT / path).exists() and path != "README.md":
        pytest.skip(f"{path} is not there yet")
    text = (fork / path).read_text(encoding="utf-8")
    assert "colab.research.google.com/github/someone-else/pump.watch/blob/next/nbs/" in text


def test_fork_holds_the_old_address_nowhere(fork):
    """settings.ini is the one place; all else is made from it. (`_modidx.py` is made by `nbdev_export`.)"""
    parser = ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    old = re.escape("{user}/{repo}".format(**parser["DEFAULT"]))
    address = re.compile(rf"github(usercontent)?(\.com|\.io)?[/:]{old}\b")
    texts = [
        path
        for path in fork.rglob("*")
        if path.suffix in (".py", ".md", ".ipynb", ".yaml", ".yml", ".toml", ".ini", ".txt", ".cff")
    ]
    held = [
        name(ROOT / path.relative_to(fork))
        for path in texts
        if path.name != "_modidx.py" and address.search(path.read_text(encoding="utf-8"))
    ]
    assert not held


def test_readme_of_a_fork_is_in_step_after_one_run(fork):
    assert run_in(fork, sys.executable, "tools/readme.py", "--check").returncode == 0


@pytest.mark.parametrize("file", ["config.yaml", "config_colab.yaml"])
def test_configuration_file_is_what_the_code_writes(file):
    overrides = runpy.run_path(str(ROOT / "tools/write_configs.py"))["COLAB"] if "colab" in file else {}
    text = (ROOT / file).read_text(encoding="utf-8")
    assert text == Config.load(None, overrides).to_yaml(), "run `make config`"
    assert Config.load(ROOT / file) == Config.load(None, overrides)


@pytest.mark.parametrize("file", ["config.yaml", "config_colab.yaml"])
def test_every_key_is_explained(file):
    lines = [
        line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("- {")
    ]
    keys = Counter(bool(re.search(r"  # \S", line)) for line in lines)
    assert keys[True] > 50 and not keys[False], [line for line in lines if "  # " not in line]


# --- the map ---------------------------------------------------------------------------------------------------------

MAP = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_the_map_shows_the_floors_as_they_are():
    rows = re.findall(r"^\| (\d+) \| (.+?) \| .+ \|$", MAP, re.M)
    assert [number for number, _ in rows] == [str(n) for n in range(len(FLOORS))]
    assert [re.findall(r"`([\w.]+)`", households) for _, households in rows] == FLOORS


def test_every_module_lives_in_a_household_of_the_map():
    """And every household has modules."""
    lived_in = {household(module) for module in MODULES}
    assert set(HOUSEHOLDS) == lived_in


def test_the_map_names_places_that_are_there():
    named = re.findall(r"`(nbs/[\w/]+)(?:\.ipynb)?`", MAP)
    assert len(named) >= 8
    assert not [path for path in named if not ((ROOT / path).is_dir() or (ROOT / f"{path}.ipynb").is_file())]


def test_the_map_leads_to_each_kind_of_part():
    adding = re.findall(r"^\| (\w+) \| .+ \| `.+` \|$", MAP.partition("## To add")[2], re.M)
    assert adding == ["reader", "feature", "network", "estimator", "task", "metric", "command", "panel"]
    assert len(MAP.splitlines()) < 60, "more than a screen"


# --- width -----------------------------------------------------------------------------------------------------------

WIDEST = 100


@pytest.mark.parametrize("path", EXPORTING.values(), ids=name)
def test_exported_lines_can_be_read_beside_one_another(path):
    wide = [line for source in exported(read(path)) for line in source.split("\n") if len(line) > WIDEST]
    assert not wide, wide[:3]


# --- types -----------------------------------------------------------------------------------------------------------

UNTYPED = set((ROOT / "tests/house/untyped.txt").read_text(encoding="utf-8").split())  # not yet; a function leaves for good


def public_functions(module):
    """Names and nodes of functions and methods that others call."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            names = [part.name for part in dict.fromkeys((node, inner)) if hasattr(part, "name")]
            if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) and not any(
                name.startswith("_") and name not in ("__init__", "__call__") for name in names
            ):
                yield ".".join([module, *names]), inner


def is_typed(function):
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    typed = all(argument.annotation for argument in given if argument.arg not in ("self", "cls"))
    return typed and (function.returns is not None or function.name == "__init__")


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_have_types(module):
    untyped = {full for full, function in public_functions(module) if not is_typed(function)}
    assert untyped == {full for full in UNTYPED if full.startswith(f"{module}.")}
