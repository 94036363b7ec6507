"""Documentation cannot drift: snippets and docstring examples are run.

What begins with a comment "# needs ..." is not: a key, a service, a cluster.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest
from students.tiny_bert import write_tiny_bert

import pgkd
from pgkd.students import _encoder, transformer

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
MODULES = sorted(m.name for m in pkgutil.walk_packages(pgkd.__path__, "pgkd."))

#: The stand-ins for LLMs write, and most of them label nothing; one loses its key; fits of a search
#: share a `run_dir`; MLflow would like types.
stands_in = pytest.mark.filterwarnings(
    "ignore:.*(The probe of the teacher says nothing|The teacher did not answer)|"
    ".*The key has expired|`run_dir` .* holds a run with other|.*type hint"
)


@pytest.fixture
def tiny_model(tmp_path, monkeypatch):
    """Every model that a page names is a tiny one."""
    model = write_tiny_bert(tmp_path / "tiny_bert")
    load = _encoder.load_pretrained
    for module in (_encoder, transformer):
        monkeypatch.setattr(
            module, "load_pretrained", lambda cls, name, **options: load(cls, model, **options)
        )
    monkeypatch.chdir(tmp_path)  # where pages may write
    yield
    _encoder._get_encoder.cache_clear()


@stands_in
@pytest.mark.usefixtures("tiny_model")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets(page, monkeypatch):
    """The ``python`` blocks of a page are one program, but for those that need something."""
    if page.name == "deploy.md":
        pytest.importorskip("onnxruntime", reason="exported classifiers need pgkd[onnx]")
    # Its import sets up the log.
    if page.name in ("guide.md", "index.md", "README.md") and not find_spec("wordllama"):
        pytest.skip("StaticStudent('wordllama') needs pgkd[wordllama]")
    if page.name == "recipes.md":
        for package in ("datasets", "fastapi", "mlflow", "optuna", "polars", "pyarrow"):
            pytest.importorskip(package, reason="the recipes need pgkd[test]")
    if page.name == "guide.md":
        pytest.importorskip("matplotlib", reason="pgkd.plots needs pgkd[plot]").use("agg")
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    module = types.ModuleType("snippet")  # a real one, so that its classes can be pickled
    monkeypatch.setitem(sys.modules, "snippet", module)
    program = "\n".join(block for block in blocks if not block.startswith("# needs "))
    exec(compile(program, page.name, "exec"), vars(module))
    assert set(re.findall(r"^class (\w+)", program, re.M)) <= vars(module).keys()


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands(page, tmp_path):
    """The ``sh`` blocks of a page are one script, but for those that need something."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    script = "\n".join(block for block in blocks if not block.startswith("# needs "))
    if not script:
        pytest.skip("no commands")
    if not find_spec("wordllama"):
        pytest.skip("static:wordllama needs pgkd[wordllama]")
    own = f'pgkd() {{ "{sys.executable}" -m pgkd.cli "$@"; }}\nset -e\n'
    done = subprocess.run(["sh", "-c", own + script], cwd=tmp_path, timeout=300)
    assert done.returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_what_is_gone(page):
    """A reader would look for it in vain."""
    gone = "audit_|audit_size|best_cycle_|choice_|min_gain_per_dollar|refit_on_all|verification="
    found = re.findall(rf"\b(?:{gone})(?=\W)", page.read_text(encoding="utf-8"))
    assert not found


@pytest.mark.parametrize("estimator", [pgkd.PGKDClassifier, pgkd.Evidence])
def test_each_parameter_has_its_line(estimator):
    """In the order of the signature, with its default."""
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    table = page.split(f"## {estimator.__name__}\n")[1].split("##")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| \w", table, re.M)
    signature = inspect.signature(estimator).parameters.values()
    assert [(name, ast.literal_eval(default)) for name, default in rows] == [
        (parameter.name, parameter.default) for parameter in signature
    ]


LINKED = [*PAGES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
LINKED += [ROOT / name for name in ("benchmarks/README.md", "CONTRIBUTING.md", "SECURITY.md")]
LINKED += [ROOT / "docs" / "tutorials" / "README.md"]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Those to other files of the repository, and to headings in them."""
    text = page.read_text(encoding="utf-8")
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)]*))?\)", text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.M)
            slugs = [re.sub(r"[^\w -]", "", own.lower()).replace(" ", "-") for own in headings]
            assert anchor in slugs, f"{path}#{anchor}"


def test_each_tutorial_has_its_line():
    """By the title with which the program begins."""
    folder = ROOT / "docs" / "tutorials"
    page = (folder / "README.md").read_text(encoding="utf-8")
    titles = [(p.read_text(encoding="utf-8").split("\n")[1], p.name) for p in folder.glob("*.py")]
    assert re.findall(r"^\| \[(.+?)\]\((.+?)\) \| \w", page, re.M) == sorted(
        titles, key=lambda title: title[1]
    )


def test_each_promise_has_its_test():
    """The page names files and tests that are there."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", page)
    assert len(named) > 60
    for path, name in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"(def|class) {name}\b", source) or name in source, name


@stands_in
@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(module), optionflags=flags).failed == 0


def test_no_path_of_one_machine_and_no_registry():
    """What is checked is text that git tracks; the words are put together here, not written."""
    forbidden = re.compile(
        "|".join(["(?<![.\\w])/" + w + "/" for w in ("root", "work", "home", "opt")])
        + "|"
        + "pypi"
        + r"\.org|index"
        + "-url"
    )
    suffixes = {".py", ".md", ".toml", ".yaml", ""}
    for path in ROOT.rglob("*"):
        relative = path.relative_to(ROOT)
        hidden = any(part.startswith((".", "_build")) for part in relative.parts)
        if path.is_file() and path.suffix in suffixes and not hidden:
            match = forbidden.search(path.read_text(encoding="utf-8", errors="ignore"))
            assert match is None, f"{relative}: {match.group()}"
