"""What the pages say was measured is what lies in `benchmarks/results`."""

import functools
import itertools
import statistics
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp", reason="the benchmarks import what pgkd[examples] brings")

import deciders
import inference
import ladder
import tables
from common import by_seed, interval
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pgkd import PGKDClassifier
from pgkd.datasets import load_icd10
from pgkd.teachers import OpenAITeacher

ROOT = Path(__file__).parents[1]
ARMS = ("trainer 3", "pgkd 2", "pgkd_embedding")
rows = functools.lru_cache(maxsize=None)(tables.rows)


def read(page):
    """Return a page in one line: where it breaks says nothing."""
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_current(page):
    assert tables.render(page) == page.read_text(encoding="utf-8"), "run benchmarks/tables.py"


def test_each_table_stands_in_a_page():
    named = "".join(page.read_text(encoding="utf-8") for page in tables.PAGES)
    assert [name for name in tables.TABLES if named.count(f"<!-- table: {name} -->") != 1] == []


def test_an_old_table_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- table: paper -->\n\n| arm |\n|---|\n\n<!-- end -->\n", encoding="utf-8")
    assert "| pgkd | 3 | 0.744" in tables.render(page)


def find_ladder(arm, per_class=1, dataset="banking77", key="accuracy"):
    which = {"student": "minilm", "dataset": dataset, "per_class": per_class, "arm": arm}
    return by_seed(rows("ladder"), key, **which)


def mean(arm, **which):
    return statistics.mean(find_ladder(arm, **which).values())


def beside(other, key):
    """Return pairs of ours and another's in each cell, on the draws that both have."""
    pairs = []
    for dataset, n in itertools.product(("banking77", "massive_en", "hint3_curekart"), (1, 2, 4)):
        ours, theirs = (find_ladder(arm, n, dataset, key) for arm in ("unlabelled", other))
        draws = find_ladder("setfit", n, dataset, key).keys() & theirs.keys()
        if draws:
            pairs.append([statistics.mean(own[s] for s in draws) for own in (ours, theirs)])
    return pairs


def list_gains(student):
    """Return what each run with names, and with unlabelled texts, gained on the labelled ones."""
    gains = []
    for dataset, n, arm in itertools.product(
        ladder.DATASETS, (1, 2, 4, 8, 16), ("names", "unlabelled")
    ):
        which = {"student": student, "dataset": dataset, "per_class": n}
        alone = by_seed(rows("ladder"), "accuracy", **which, arm="labelled")
        own = by_seed(rows("ladder"), "accuracy", **which, arm=arm)
        gains += [100 * (own[s] - alone[s]) for s in own if s in alone]
    return gains


def test_ahead_of_others():
    for other, n_cells in (("setfit", 9), ("autointent", 6), ("autointent_names", 6)):
        pairs = beside(other, "accuracy")
        assert len(pairs) == n_cells
        assert all(ours > theirs for ours, theirs in pairs)
    assert max(ours / theirs for ours, theirs in beside("setfit", "seconds")) < 1 / 12
    assert "9 of 9 settings, in a twelfth of SetFit's seconds" in read("README.md")
    gains = [ours - theirs for ours, theirs in beside("frozen", "accuracy")]
    assert [gain > 0 for gain in gains].count(True) == 8
    assert min(gains) == 0
    assert "of plain embeddings in eight and level in one" in read("benchmarks/README.md")


def test_no_cell_is_below_the_labelled_texts():
    for student in ("minilm", "tfidf"):
        table = ladder.tabulate(
            rows("ladder"), student, ladder.STEPS, gain=("unlabelled", "labelled")
        )
        gains = [line.split(" | ")[-1] for line in table.splitlines()[2:]]
        assert all(gain.startswith(("+", "|", " ")) for gain in gains)


def test_what_the_probe_said():
    said = [row["probe"] for row in rows("real_llm") if row.get("probe")]
    assert len(set(said)) == 3
    assert all(verdict in read("benchmarks/README.md") for verdict in said)


# Each returns what a page must say.


def free_steps():
    yield f"accuracy rises from {mean('labelled'):.2f} to {mean('unlabelled'):.2f}"


def strong_teacher():
    yield f"banking77 rises from {mean('unlabelled'):.3f} to {mean('ideal'):.3f}"


def list_first_steps(arm, reference):
    """Return in points what an arm gains with one labelled text a class, by data set."""
    which = {"student": "minilm", "per_class": 1}
    for dataset in ladder.DATASETS:
        own, others = (
            by_seed(rows("ladder"), "accuracy", **which, dataset=dataset, arm=name)
            for name in (arm, reference)
        )
        yield 100 * statistics.mean(own[s] - others[s] for s in own)


def names_and_unlabelled():
    gains = list(list_first_steps("unlabelled", "labelled"))
    yield (
        f"Names and unlabelled texts are worth {min(gains):.0f} to {max(gains):.0f} points with "
        "one labelled text a class"
    )


def names_alone():
    gains = list(list_first_steps("names", "labelled"))
    yield f"names alone raise accuracy by {min(gains):.0f} to {max(gains):.0f} points on five"
    yield f"texts by up to {max(list_first_steps('unlabelled', 'names')):.0f} more"


def harm():
    _, gap, harm, _ = deciders.judge(rows("deciders"), deciders.screen)
    yield (
        f"In {len(rows('deciders'))} simulated runs it comes within {gap:.1f} points of always "
        f"choosing best, harms by more than a point in {harm:.0f} % of them"
    )


def footprint():
    found = tables.document("footprint")
    to_train, to_predict, _ = found["installs"].values()
    peaks = found["peaks"]
    yield f"{to_predict:,.0f} MiB instead of {to_train:,.0f} are installed"
    yield f"{peaks['onnx']:.0f} MiB instead of {peaks['student']:.0f} are used"


def worst_runs():
    for student in ("minilm", "tfidf"):
        gains = list_gains(student)
        yield f"the worst of {len(gains)} runs lost {-min(gains):.1f} points"


def guidance():
    gains = []
    for dataset in ("banking77", "massive_en", "hwu64", "naics4"):
        guided, uniform = (
            by_seed(rows("ideal_teacher_tfidf"), "f1_macro", dataset=dataset, arm=arm)
            for arm in ("guided", "uniform")
        )
        gains += [100 * (guided[s] - uniform[s]) for s in guided]
    middle, half = interval(gains)
    yield f"guidance is worth {middle:.1f} ± {half:.1f} points on the four large sets"


def gaps_by_size():
    gaps = [
        deciders.judge([r for r in rows("deciders") if r["size"] == n], deciders.screen)[1]
        for n in (100, 160, 400, 800)
    ]
    first, second, third, last = (f"{gap:.2f}" for gap in gaps)
    yield f"its gap is {first}, {second}, {third} and {last} points"


def noise():
    gains = []
    for row in rows("noise"):
        if row["arm"] == "decided":
            baseline = by_seed(rows("noise"), "accuracy", dataset=row["dataset"], arm="baseline")
            gains.append(100 * (row["accuracy"] - baseline[row["seed"]]))
    yield f"the worst of {len(gains)} runs lost {-min(gains):.1f} points"


def pools():
    own, strange = (
        [row for row in rows("pools") if (row["student"], row["pool"]) == ("minilm", pool)]
        for pool in ("own", "strange")
    )
    taken, wrongly = (sum(row["taken"] for row in part) for part in (own, strange))
    got = statistics.mean(100 * row["gain"] * row["taken"] for row in own)
    best = statistics.mean(100 * max(row["gain"], 0) for row in own)
    yield f"taken in {taken} of {len(own)} runs, and a stranger's in {wrongly}"
    yield f"got {got:.1f} of the {best:.1f} points"


def gap_of_the_rule():
    gap = deciders.judge(rows("deciders"), deciders.screen)[1]
    yield f"comes within {gap:.1f} points of always choosing best"


def gap_of_a_gate():
    found = deciders.judge_all(rows("deciders"))
    gate = next(values for name, values in found.items() if name.startswith("a gate"))
    gap = gate[1] - found["expected gain > 0"][1]
    yield f"was {gap:.1f} points of accuracy worse"


def weights():
    """What the library's rule loses without one of the weights."""

    def gap(left_out):
        without = [
            {**row, "oof": {w: own for w, own in row["oof"].items() if float(w) != left_out}}
            for row in rows("deciders")
        ]
        return deciders.judge(without, deciders.screen)[1]

    whole = gap(None)
    third, one, tenth = (f"{gap(left_out) - whole:.2f}" for left_out in (0.3, 1.0, 0.1))
    yield f"{tenth} points worse without 0.1, {one} without 1, {third} without 0.3"


def macro_f1():
    for student, before in (("minilm", ".240"), ("tfidf", ".159")):
        which = {"set": "tendim_gpt-4", "student": student, "arm": "guided"}
        found = statistics.mean(by_seed(rows("strong"), "f1_macro", **which).values())
        yield f"from {before} to {found:.3f}".replace(" 0.", " .")


def against_llms():
    faster, sooner = (
        {name: statistics.median(own) for name, own in found.items()}
        for found in inference.compare(rows("inference_avx2"))
    )
    own = faster["onnxruntime"]
    yield (
        f"{own:.1f} times `transformers.pipeline` in a batch, {sooner['openvino']:.1f} times at "
        f"p50, {own / faster['llm']:,.0f} and {own / faster['llm_shortlist']:,.0f} times the two "
        "LLMs"
    )


def against_the_pipeline():
    faster, sooner = (
        {name: statistics.median(own) for name, own in found.items()}
        for found in inference.compare(rows("inference"))
    )
    ours = ("torch", "onnxruntime", "openvino", "openvino_bf16")
    rate = statistics.median(
        r["texts_per_second"] for r in rows("inference") if r["engine"] == "static_exported"
    )
    yield (
        f"{max(faster[name] for name in ours):.1f} times `transformers.pipeline` in a batch, and "
        f"{max(sooner[name] for name in ours):.1f} times for a single text"
    )
    yield f"static embeddings label {rate:,.0f} texts a second"


def training():
    seconds, accuracy = (
        {arm: by_seed(rows("training"), key, arm=arm) for arm in ARMS}
        for key in ("seconds", "accuracy")
    )
    trainer, pgkd, embedding = ARMS
    ahead = statistics.mean(accuracy[embedding].values()) - statistics.mean(
        accuracy[trainer].values()
    )
    assert all(accuracy[pgkd][s] > accuracy[trainer][s] for s in accuracy[pgkd])
    first, second = (
        f"{statistics.mean(seconds[arm][s] / seconds[trainer][s] for s in seconds[arm]):.0%}"
        for arm in (pgkd, embedding)
    )
    yield (
        f"in {first} of its seconds; frozen embeddings are {100 * ahead:.0f} points ahead of it "
        f"in {second}"
    ).replace("%", " %")


def dollars():
    found = rows("cost")[-1]
    students, llms, paper = (
        {row["what"]: row["dollars"] for row in found[kind]}
        for kind in ("students", "llms", "paper")
    )
    own = students["pgkd, fine-tuned MiniLM, ONNX Runtime"]
    sonnet = llms["claude-3-sonnet"] / own
    yield f"for ${own:.2f}, a {min(llms.values()) / own:.0f}th of what the cheapest LLM takes"
    theirs = paper["the paper's Claude 3 Sonnet"] / paper["the paper's BERT-base on a CPU"]
    yield (
        f"{round(sonnet, -2):,.0f} times cheaper for these short texts (the paper: "
        f"{theirs:.1f} times on a CPU), and {min(llms.values()) / own:.0f} times cheaper"
    )


def throughput():
    own = [
        row
        for row in tables.document("teacher_throughput")["rows"]
        if row["client"] == "pgkd" and row["n_requests"] == 2000
    ]
    without, with_faults = (
        ", ".join(
            f"{100 * row['ideal_seconds'] / row['seconds']:.0f}"
            for row in own
            if row["faults"] == faults
        )
        for faults in (False, True)
    )
    yield f"{without} % without faults and {with_faults} % with them"


@pytest.mark.parametrize(
    ("page", "write"),
    [
        ("README.md", free_steps),
        ("README.md", strong_teacher),
        ("benchmarks/README.md", names_and_unlabelled),
        ("docs/decisions/01-free-knowledge-first.md", names_alone),
        ("docs/decisions/02-one-decider.md", harm),
        ("docs/decisions/09-export.md", footprint),
        ("benchmarks/README.md", worst_runs),
        ("benchmarks/README.md", guidance),
        ("benchmarks/README.md", gaps_by_size),
        ("benchmarks/README.md", noise),
        ("benchmarks/README.md", pools),
        ("docs/how-it-works.md", pools),
        ("docs/defaults.md", gap_of_the_rule),
        ("docs/how-it-works.md", gap_of_the_rule),
        ("docs/defaults.md", weights),
        ("docs/defaults.md", gap_of_a_gate),
        ("docs/defaults.md", macro_f1),
        ("benchmarks/README.md", against_llms),
        ("benchmarks/README.md", against_the_pipeline),
        ("benchmarks/README.md", training),
        ("benchmarks/README.md", dollars),
        ("benchmarks/README.md", throughput),
    ],
)
def test_sentences(page, write):
    for sentence in write():
        assert sentence in read(page)


def test_a_small_run_costs_cents():
    """What the first lines of docs/cost.md say of the tutorial, by its settings."""
    pytest.importorskip("simple_icd_10_cm", reason="its data need pgkd[datasets]")
    X, y, *_ = load_icd10("chapter", n_train=1500, n_test=2000)
    llm = OpenAITeacher("my-llm", base_url="http://localhost:8080/v1", price=(0.25, 2.00))
    clf = PGKDClassifier(
        llm,
        make_pipeline(TfidfVectorizer(), LogisticRegression()),
        max_cycles=4,
        samples_per_cycle=100,
        task_description="Diagnoses in a clinician's words, by chapter of ICD-10-CM.",
        random_state=0,
    )
    plan = clf.plan(X[:88], y[:88], X_unlabeled=X[500:])
    assert round(100 * plan.cost[1]) == 6
    assert "six cents at most, for four batches" in read("docs/cost.md")
