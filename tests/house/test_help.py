"""`help()` of everything public explains each parameter, and every name that it mentions exists."""

import builtins
import inspect
import re

import pytest

import sounddetect as sd
from sounddetect.settings.nested import flat

ITEM = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*): \S", re.M)
# What a reader is sent to by these words has to be there, whatever it looks like.
POINTED_AT = re.compile(r"(?:\bsee|(?<!such )\bas|\bas in|\bas from|\bthose of) `([\w.]+)`", re.I)
A_NAME = re.compile(r"(?:[A-Z][a-z]+)+|sd\..+|[a-z]\w*(?:\.[a-z_]\w*)+")
A_FILE = re.compile(r"\.(csv|json|yaml|txt|html|png|pt|onnx)$")
SETTINGS = {key for key, _ in flat(sd.Config().model_dump())}


def is_own(thing):
    return getattr(thing, "__module__", "").startswith("sounddetect")


def public():
    """Every function of the face, and every class with what it can do, by name."""
    for name in sorted(sd.__all__):
        thing = getattr(sd, name)
        if inspect.isclass(thing):
            if not hasattr(thing, "model_fields"):          # settings are explained in config.yaml
                yield name, thing
            for base in filter(is_own, reversed(thing.__mro__)):
                for key, member in vars(base).items():
                    if not key.startswith("_"):
                        yield f"{name}.{key}", getattr(member, "__func__", member)
        elif callable(thing):
            yield name, thing


THINGS = {name: thing for name, thing in public() if callable(thing) or isinstance(thing, property)}
CALLED = [name for name, thing in THINGS.items() if callable(thing)]


def help_of(name):
    """The docstring, for a class with that of what makes one; an overriding method inherits it."""
    thing, owner = THINGS[name], getattr(sd, name.partition(".")[0])
    if inspect.isclass(thing):
        made = thing.__init__ if is_own(thing.__init__) else None
        return "\n\n".join(filter(None, (inspect.getdoc(thing), made and inspect.getdoc(made))))
    return inspect.getdoc(getattr(owner, name.partition(".")[2]) if "." in name else thing) or ""


def items(doc, *titles):
    """Names explained in sections of a docstring."""
    found = [re.search(rf"^{title}:\n((?:(?:    .*)?\n?)+)", doc, re.M) for title in titles]
    listed = [names for match in found if match for names in ITEM.findall(match[1])]
    return {name for names in listed for name in names.split(", ")}


def parameters(thing):
    if not callable(thing):
        return []
    named = inspect.signature(thing).parameters.values()
    return [str(each).partition(":")[0].partition("=")[0].strip() for each in named if each.name not in ("self", "cls")]


@pytest.mark.parametrize("name", CALLED)
def test_every_parameter_is_explained_in_help(name):
    doc, wanted = help_of(name), set(parameters(THINGS[name]))
    explained = items(doc, "Args")
    assert doc.split("\n")[0], f"{name} has no docstring"
    # what a class keeps under the name of a parameter is explained once
    assert wanted - explained <= items(doc, "Attributes"), f"help({name}) leaves parameters out"
    assert explained <= wanted, f"help({name}) explains parameters that are not there"


def test_every_property_is_explained_in_help():
    assert [name for name in THINGS if not help_of(name)] == []


def resolves(name):
    """Whether a name leads to something: of the face, of Python, or a setting."""
    if any(f"{key}.".startswith(f"{name}.") for key in SETTINGS) or hasattr(builtins, name):
        return True
    found = sd
    for part in name.removeprefix("sd.").split("."):
        found = getattr(found, part, None)
    return found is not None


@pytest.mark.parametrize("name", THINGS)
def test_every_name_that_help_mentions_exists(name):
    doc, owner = help_of(name), getattr(sd, name.partition(".")[0])
    quoted = [text.partition("(")[0] for text in re.findall(r"`([\w.]+(?:\([^`]*\))?)`", doc)]
    mentioned = {text for text in quoted if A_NAME.fullmatch(text) and not A_FILE.search(text)}
    mentioned |= {text for text in POINTED_AT.findall(doc) if not A_FILE.search(text)} | items(doc, "Raises")
    known = {*dir(owner), *parameters(owner), *parameters(THINGS[name])}
    assert sorted(text for text in mentioned if text not in known and not resolves(text)) == []


def test_packages_are_there_without_a_further_import():
    assert callable(sd.plotting.plot_roc_curve) and callable(sd.judging.metrics.confusion)
