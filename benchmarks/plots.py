"""Draw the results: plots/*.png from results/*.jsonl.

    python benchmarks/plots.py        (needs matplotlib: pip install "pgkd[plot]")

Points are means over seeds, bars 95 % intervals (Student's t), paired where two arms are compared.
"""

from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from common import RESULTS, interval, read_rows

PLOTS = Path(__file__).parent / "plots"
#: Cycles of the real LLM that are drawn.
N_CYCLES = {"hint3_curekart": 3, "banking77": 1}


def main():
    PLOTS.mkdir(exist_ok=True)
    for scoring in ("f1_macro", "accuracy"):
        draw_ideal_teacher(scoring)
    draw_noise()
    draw_real_llm()


def collect(rows, *keys, metric):
    """Map each combination of `keys` to the metric by seed."""
    values = defaultdict(dict)
    for row in rows:
        values[tuple(row.get(key) for key in keys)][row["seed"]] = row[metric]
    return values


def compare(a, b):
    """Interval of the difference over the seeds that both have."""
    seeds = sorted(set(a) & set(b))
    return interval([a[s] - b[s] for s in seeds]) if seeds else None


def draw_ideal_teacher(scoring):
    rows = [r for r in read_rows(RESULTS / "ideal_teacher_tfidf.jsonl") if r["scoring"] == scoring]
    values = collect(rows, "dataset", "size", "arm", metric=scoring)
    groups = sorted({key[:2] for key in values})
    arms = ["guided", "guided_3", "weakness", "errors", "uniform", "one_shot", "prior"]
    arms = [arm for arm in arms if any(key[2] == arm for key in values)]
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(groups) * len(arms) ** 0.5 + 1.5))
    for i, arm in enumerate(arms):
        points = [compare(values[(*g, arm)], values[(*g, "baseline")]) for g in groups]
        shown = [(y, p) for y, p in enumerate(points) if p]
        axes.errorbar(
            [p[0] for _, p in shown],
            [y + 0.12 * (i - len(arms) / 2) for y, _ in shown],
            xerr=[p[1] for _, p in shown],
            fmt="o",
            label=arm,
        )
    axes.set_yticks(range(len(groups)), [f"{name}, {size}" for name, size in groups])
    axes.set_ylim(-0.8, len(groups) - 0.2)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_xlabel(f"{scoring} on the test file, minus the baseline's")
    axes.set_title(f'Ideal teacher, scoring="{scoring}"')
    axes.legend()
    save(figure, f"ideal_teacher_{scoring}")


def draw_noise():
    rows = read_rows(RESULTS / "noise.jsonl")
    values = collect(rows, "dataset", "arm", "rate", metric="accuracy")
    groups = sorted({key[:2] for key in values if key[1] != "baseline"})
    figure, axes = plt.subplots(figsize=(7, 4))
    for dataset, arm in groups:
        rates = sorted(key[2] for key in values if key[:2] == (dataset, arm))
        baseline = values[dataset, "baseline", None]
        points = [compare(values[dataset, arm, rate], baseline) for rate in rates]
        means, halves = [p[0] for p in points], [p[1] for p in points]
        axes.errorbar(rates, means, yerr=halves, marker="o", capsize=3, label=f"{dataset}, {arm}")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("share of the teacher's labels that are wrong")
    axes.set_ylabel("accuracy on the test file, minus the baseline's")
    axes.legend()
    save(figure, "noise")


def draw_real_llm():
    rows = [r for r in read_rows(RESULTS / "real_llm.jsonl") if r["arm"] != "zero_shot"]
    rows = [r for r in rows if r["n_cycles"] in (0, N_CYCLES[r["dataset"]])]
    values = collect(rows, "dataset", "arm", metric="accuracy")
    groups = sorted(values, key=lambda group: group[0])[::-1]
    if not groups:
        return
    figure, axes = plt.subplots(figsize=(7, 0.35 * len(groups) + 1))
    for y, key in enumerate(groups):
        axes.plot(list(values[key].values()), [y] * len(values[key]), "o", color="tab:blue")
    axes.set_yticks(range(len(groups)), [f"{dataset}, {arm}" for dataset, arm in groups])
    axes.set_xlabel("accuracy on the test file, a point a seed")
    save(figure, "real_llm")


def save(figure, name):
    figure.tight_layout()
    figure.savefig(PLOTS / f"{name}.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
