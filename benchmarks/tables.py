"""Write the tables of the pages from `results/`, or check that they are current.

    python benchmarks/tables.py [--check]

A page has ``<!-- table: NAME -->`` before a table and ``<!-- end -->`` after it. What lies between
is made by the function of the script that measured it.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import cost
import deciders
import footprint
import ideal_teacher
import injection
import ladder
import noise
import paper
import pools
import real_llm
import strong
import teacher_throughput
import training
from common import RESULTS, read_rows
from inference import tabulate as tabulate_inference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n\n)(.*?)(\n\n<!-- end -->)", re.S)


def rows(name):
    return read_rows(RESULTS / f"{name}.jsonl")


def document(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


TABLES: dict[str, Callable[[], str]] = {
    "ladder-minilm": lambda: ladder.tabulate(
        rows("ladder"), "minilm", ladder.STEPS, gain=("unlabelled", "labelled")
    ),
    "ladder-tfidf": lambda: ladder.tabulate(
        rows("ladder"), "tfidf", ladder.STEPS, gain=("unlabelled", "labelled")
    ),
    "ladder-ideal": lambda: ladder.tabulate(
        rows("ladder"), "minilm", ladder.IDEAL, draws_of="ideal"
    ),
    "beside": lambda: ladder.tabulate(rows("ladder"), "minilm", ladder.BESIDE, draws_of="setfit"),
    "beside-seconds": lambda: ladder.tabulate(
        rows("ladder"), "minilm", ladder.BESIDE, "seconds", draws_of="setfit"
    ),
    "deciders": lambda: deciders.tabulate(rows("deciders")),
    "pools": lambda: pools.tabulate(rows("pools")),
    "strong-minilm": lambda: strong.tabulate(rows("strong"), "minilm"),
    "strong-tfidf": lambda: strong.tabulate(rows("strong"), "tfidf"),
    "real-llm": lambda: real_llm.tabulate(rows("real_llm")),
    "guidance": lambda: ideal_teacher.tabulate(
        rows("ideal_teacher_tfidf"), ["guided", "weakness", "uniform", "one_shot"]
    ),
    "noise": lambda: noise.tabulate(rows("noise"), ["banking77", "hint3_curekart"]),
    "paper": lambda: paper.tabulate(rows("paper")),
    "inference": lambda: tabulate_inference(rows("inference")),
    "inference-avx2": lambda: tabulate_inference(rows("inference_avx2")),
    "training": lambda: training.tabulate(rows("training")),
    "cost": lambda: cost.tabulate(rows("cost")[-1]),
    "cost-paper": lambda: cost.tabulate_paper(rows("cost")[-1]),
    "imports": lambda: footprint.tabulate_imports(document("footprint")),
    "models": lambda: footprint.tabulate_models(document("footprint")),
    "installs": lambda: footprint.tabulate_installs(document("footprint")),
    "throughput": lambda: teacher_throughput.tabulate(document("teacher_throughput")["rows"], 2000),
    "injection": lambda: injection.tabulate(rows("injection")),
}


def render(page):
    """Return the text of a page with its tables made anew."""
    text = page.read_text(encoding="utf-8")
    return MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[4], text)


def find_outdated():
    return [page for page in PAGES if render(page) != page.read_text(encoding="utf-8")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if one is old")
    if parser.parse_args().check:
        if outdated := [str(page.relative_to(ROOT)) for page in find_outdated()]:
            raise SystemExit(f"{outdated}: run `python benchmarks/tables.py`.")
        return
    for page in find_outdated():
        page.write_text(render(page), encoding="utf-8")


if __name__ == "__main__":
    main()
