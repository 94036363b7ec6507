"""Print the figures of the house: modules, circles, constructors.

    python tests/layout.py

`test_layout.py` holds the package to them; `lint-imports` holds the floors.
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import statistics
from pathlib import Path

from sklearn.base import BaseEstimator

import pgkd

ROOT = Path(pgkd.__file__).parent


def measure_modules():
    """Return the lines of each module."""
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in ROOT.rglob("*.py")
    }


def count_parameters():
    """Return how many parameters each constructor takes, of what is neither estimator nor record.

    Estimators are what a user constructs. Frozen dataclasses and named tuples are records.
    """
    counts = {}
    for name in list_modules():
        module = importlib.import_module(name)
        for cls in vars(module).values():
            if not inspect.isclass(cls) or cls.__module__ != name or "__init__" not in vars(cls):
                continue
            is_record = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen
            if is_record or issubclass(cls, (BaseEstimator, Exception)):
                continue
            n = len(inspect.signature(cls).parameters)
            counts[f"{name}.{cls.__qualname__}"] = n
    return counts


def list_modules():
    """Name all modules but those that are run."""
    return [
        module.name
        for module in pkgutil.walk_packages([str(ROOT)], "pgkd.")
        if not module.name.endswith("__main__")
    ]


def find_circles():
    """Return the modules that import each other, at any time; each set is one circle."""
    names = {"pgkd", *list_modules()}
    graph = {name: _find_imports(name, names) for name in names - {"pgkd"}}
    reached = {name: _reach(name, graph) for name in graph}
    circles = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in graph
    }
    return [circle for circle in circles if circle]


def _find_imports(name, names):
    path = ROOT.parent / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names} & names
            found |= parts or ({node.module} & names)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & names
    return found - {name}


def _reach(name, graph):
    seen, todo = set(), [name]
    while todo:
        for other in graph.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def main():
    lines, parameters = measure_modules(), count_parameters()
    longest, widest = max(lines, key=lines.get), max(parameters, key=parameters.get)
    print(f"{len(lines)} modules, {sum(lines.values())} lines")
    print(f"median {statistics.median(lines.values()):g}, longest {lines[longest]} ({longest})")
    print(f"import circles: {len(find_circles())}")
    print(f"most parameters of a constructor: {parameters[widest]} ({widest})")


if __name__ == "__main__":
    main()
