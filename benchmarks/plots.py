"""Draw the ladder: plots/ladder.png from results/ladder.jsonl.

    python benchmarks/plots.py        (needs matplotlib: pip install "pgkd[plot]")

Points are means over seeds, bars their range.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from common import RESULTS, read_rows

PLOTS = Path(__file__).parent / "plots"
DATASETS = ["banking77", "massive_en", "hwu64", "hint3_curekart"]
ARMS = {
    "labelled": "labelled texts alone",
    "names": "+ names of the classes",
    "unlabelled": "+ unlabelled texts",
    "setfit": "SetFit",
}


def main():
    PLOTS.mkdir(exist_ok=True)
    rows = [row for row in read_rows(RESULTS / "ladder.jsonl") if row["student"] == "minilm"]
    figure, panels = plt.subplots(1, len(DATASETS), figsize=(13, 3.4), sharex=True)
    for axes, dataset in zip(panels, DATASETS):
        own = [row for row in rows if row["dataset"] == dataset]
        sizes = sorted({row["per_class"] for row in own})
        for arm, label in ARMS.items():
            found = [
                (i, [r["accuracy"] for r in own if (r["per_class"], r["arm"]) == (n, arm)])
                for i, n in enumerate(sizes)
            ]
            found = [(i, values) for i, values in found if values]
            if not found:
                continue
            means = [float(np.mean(values)) for _, values in found]
            spread = [
                [mean - min(values) for mean, (_, values) in zip(means, found)],
                [max(values) - mean for mean, (_, values) in zip(means, found)],
            ]
            style = "x--" if arm == "setfit" else "o-"
            axes.errorbar([i for i, _ in found], means, yerr=spread, fmt=style, label=label)
        axes.set(title=dataset, xlabel="labelled texts a class")
        axes.set_xticks(range(len(sizes)), sizes)
    panels[0].set_ylabel("accuracy on the test file")
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="upper left", ncols=len(ARMS))
    figure.savefig(PLOTS / "ladder.png", dpi=110)


if __name__ == "__main__":
    main()
