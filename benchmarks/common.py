"""What the benchmarks share: data, splits, intervals."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

RESULTS = Path(__file__).parent / "results"


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], np.array([row["label"] for row in rows])


def split_train(texts, y, n_labelled, seed):
    """Draw the labelled texts, one a class first and the rest uniformly; hide the others.

    Returns
    -------
    labelled, hidden : tuples of (texts, labels)
    """
    order = np.random.default_rng(seed).permutation(len(y))
    first = order[np.unique(y[order], return_index=True)[1]]
    rest = order[~np.isin(order, first)]
    chosen = np.concatenate([first, rest[: n_labelled - len(first)]])
    hidden = rest[n_labelled - len(first) :]
    return tuple(([texts[i] for i in rows], y[rows]) for rows in (chosen, hidden))


def interval(values):
    """Mean and half width of the 95 % interval over seeds (Student's t)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def show(values, sign="", digits=3):
    """Write the mean over seeds, and the half width of its interval if there are two or more."""
    if not len(values):
        return ""
    mean, half = interval(values)
    return f"{mean:{sign}.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")


def show_gain(values, reference, sign="+", digits=3):
    """Write how much greater one is than the other, seed by seed."""
    return show([values[s] - reference[s] for s in values if s in reference], sign, digits)


def by_seed(rows, key, **wanted):
    """Return a dict of seed to ``row[key]``, of the rows that have what is wanted."""
    return {r["seed"]: r[key] for r in rows if all(r[n] == value for n, value in wanted.items())}


def make_table(titles, rows):
    """Write a Markdown table."""
    cells = [titles, *rows]
    lines = ["| " + " | ".join(map(str, own)) + " |" for own in cells]
    return "\n".join([lines[0], "|" + "---|" * len(titles), *lines[1:]])


def show_median(values):
    """Write the median, and the least and the greatest value if there are two or more."""
    median, *ends = (f"{v:,.{_digits(v)}f}" for v in (np.median(values), min(values), max(values)))
    return f"{median} ({ends[0]}–{ends[1]})" if len(values) > 1 else median


def _digits(value):
    """Decimals that leave about three digits."""
    return max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0


def save(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_rows(path):
    """Read the rows of a results file, one JSON document a line."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def append(path, row):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
