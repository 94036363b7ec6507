"""A report of a run that never was, as large and as hostile as one may be."""

from pgkd.evaluation.calibration import Bin, Calibration
from pgkd.evaluation.estimates import Estimate
from pgkd.records import ClassScore, Comparison, Probe, Step, StudentReport, SyntheticText, Usage
from pgkd.reporting.report import Report
from pgkd.reporting.sums import count_losses, find_confusions, find_gains, sum_up_routes

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    'it\'s "quoted" & <b>bold</b> &amp;',
    "turned \u202eround",
    "مرحبا",
    "half an emoji \ud83d",
    "{{ 7 * 7 }} {% raw %} `code` | $x$ **bold**",
]


def make_report(n_classes=20, n_texts=200):
    classes = [*HOSTILE, *(f"class {i:03}" for i in range(n_classes - len(HOSTILE)))]

    def evaluate(share):
        scores = {
            label: ClassScore(share, share, min(1.0, share + 0.001 * (i % 7) * (share > 0.5)), 10)
            for i, label in enumerate(classes)
        }
        wrong = round(10 * (1 - share))
        confusions = dict.fromkeys(zip(classes, [*classes[1:], classes[0]]), wrong)
        return StudentReport(share, share, 1.0, scores, confusions, None, 10 * n_classes)

    usage = Usage(10, 9000, 1000, 0.25, 300)
    steps = [
        Step(0, "labelled", score=0.5, report=evaluate(0.5), n_accepted=10 * n_classes),
        _step(1, "names", 0.6, 0.1, report=evaluate(0.6)),
        _step(2, "write", 0.65, 0.05, report=evaluate(0.65), usage=usage, n_requested=100),
        _step(3, "write", 0.7, 0.05, report=evaluate(0.7), usage=usage, n_requested=100),
        _step(4, "label", 0.7, -0.02, taken=False, report=evaluate(0.7), usage=usage),
    ]
    verdicts = [("accepted", None), ("rejected", "duplicate"), ("dropped", "no gain out of fold")]
    texts = tuple(
        SyntheticText(
            f"{HOSTILE[i % len(HOSTILE)]} {i}",
            classes[i % n_classes],
            1 + i % 4,
            f"r-{i}",
            verdict=verdicts[i % 3][0],
            reason=verdicts[i % 3][1],
        )
        for i in range(n_texts)
    )
    first, last = steps[0].report, steps[-1].report
    return Report(
        comparison=Comparison("accuracy", 0.5, 0.7, 0.03, 0.2, 0.02, 0.3, 10 * n_classes),
        n_labelled=10 * n_classes,
        stop_reason="max_cycles",
        steps=tuple(steps),
        routes=sum_up_routes(steps, texts),
        probe=Probe(40, 25, 20, 27, 9, 4, 0.5, True, Usage(40, 900, 40, 0.05)),
        labelled_diversity=None,
        gains=find_gains(first, last),
        confusions=find_confusions(first, last),
        losses=count_losses(steps, [text for text in texts if text.verdict != "accepted"]),
        texts=texts,
        usage=Usage(70, 27900, 3040, 0.8, 900),
        calibration=Calibration(
            *(1.6, 1.6, 200, 1.3, 1.2, 0.01, 0.11, 0.03),
            Estimate(0.08, 0.06, 0.1),
            0.02,
            (Bin(120, 0.4, 0.2), Bin(80, 0.9, 0.7)),
            (Bin(120, 0.3, 0.2), Bin(80, 0.8, 0.7)),
        ),
    )


def _step(number, route, score, gain, taken=True, **more):
    before = score - gain if taken else score
    comparison = Comparison("accuracy", before, before + gain, 0.02, gain, 0.01, 0.3, 200)
    return Step(number, route, taken, score, comparison=comparison, factor=0.3, **more)
