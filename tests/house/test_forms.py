"""What follows from the form of a result is asked of the result: nobody else counts classes or knows what they are called."""

import ast

import pytest
from support.commands import ROOT

PACKAGE = ROOT / "sounddetect"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py", "_modidx.py")
}
# Where a form is made or drawn, where labels and settings are spelt, and what is said to users.
KNOWS_FORMS = ("tasks", "plotting", "data.collection.labels", "data.simulation", "settings", "config", "workbench.texts")
NAMES = {"OK", "NG"}
CLASSES = ("classes", "probabilities", "class_names")


def is_classes(node):
    """A name or attribute that holds classes, such as `detector.classes`."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.endswith(CLASSES)


def is_number(node):
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def counts_classes(node):
    """`len(classes) == 2` and the like."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "len"
        and node.args
        and is_classes(node.args[0])
    )


def docstrings(tree):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, kinds) and node.body)
    return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}


def knowledge(code):
    """Lines that know how many classes there are, which stands where, or what one is called."""
    tree = ast.parse(code)
    texts = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(map(counts_classes, [node.left, *node.comparators])):
            if any(map(is_number, [node.left, *node.comparators])):
                yield node.lineno
        elif isinstance(node, ast.Subscript) and is_classes(node.value) and is_number(node.slice):
            yield node.lineno
        elif isinstance(node, ast.Assign) and is_classes(node.value) and isinstance(node.targets[0], ast.Tuple):
            yield node.lineno
        elif isinstance(node, ast.Constant) and node.value in NAMES and id(node) not in texts:
            yield node.lineno


@pytest.mark.parametrize(
    "code",
    [
        "if len(detector.classes) == 2: pass",
        "x = 2 < len(classes)",
        "if not 2 != len(run.config.data.classes): pass",
        "positive = self.classes[1]",
        "last = classes[-1]",
        "good, bad = evaluation.classes",
        "is_bad = table['label'] == 'NG'",
        "names = ('OK', 'dry')",
    ],
)
def test_knowledge_is_seen(code):
    assert list(knowledge(code)) == [1]


@pytest.mark.parametrize(
    "code", ["len(classes)", "len(classes) == n_columns", "classes[k]", "names = list(classes)", '"""OK"""', "x = 'OK then'"]
)
def test_the_harmless_is_not(code):
    assert not list(knowledge(code))


def test_there_are_modules():
    assert len(MODULES) > 100
    known = [module for module in MODULES if module.startswith(KNOWS_FORMS)]
    assert any(list(knowledge(MODULES[module].read_text(encoding="utf-8"))) for module in known)


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith(KNOWS_FORMS)])
def test_module_asks_the_result(module):
    code = MODULES[module].read_text(encoding="utf-8")
    lines = code.splitlines()
    found = [f"{number}: {lines[number - 1].strip()}" for number in knowledge(code)]
    assert not found, "ask the form of the scores (tasks.results), or the labels (data.collection.labels)"
