"""Packaging: everything is read from settings.ini, the one place where a fork changes its name."""
import shlex
from configparser import ConfigParser
from pathlib import Path

import setuptools

HERE = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(HERE / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
package = settings["lib_path"]


def requirements(*keys):
    """Requirement strings of the given settings; quoting keeps `<` and `>` together."""
    return [requirement for key in keys for requirement in shlex.split(settings.get(key, ""))]


extras = {name: requirements(f"{name}_requirements") for name in ("onnx", "tracking", "app", "tune", "archive", "service", "postgres", "xlsx", "ray")}
setuptools.setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    keywords=settings["keywords"],
    author=settings["author"],
    author_email=settings["author_email"],
    license=settings["license"].upper(),
    url=settings["git_url"],
    classifiers=[
        "Programming Language :: Python :: 3",
        "Intended Audience :: Developers",
        "Topic :: Scientific/Engineering",
    ],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=setuptools.find_packages(include=[package, f"{package}.*"]),
    python_requires=f">={settings['min_python']}",
    install_requires=requirements("requirements", "pip_requirements"),
    extras_require=extras | {"dev": requirements("dev_requirements", *map("{}_requirements".format, extras))},
    entry_points={
        "console_scripts": settings["console_scripts"].split(),
        "nbdev": [f"{package}={package}._modidx:d"],
    },
    zip_safe=False,
)
