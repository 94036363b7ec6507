"""The house keeps its figures: `layout.py` prints them."""

import statistics

import layout


def test_modules_are_short():
    lines = layout.measure_modules()
    assert {name: n for name, n in lines.items() if n > 400} == {}
    assert statistics.median(lines.values()) < 180


def test_nothing_imports_in_a_circle():
    assert layout.find_circles() == []


def test_what_travels_together_is_a_record():
    counts = layout.count_parameters()
    assert len(counts) > 20
    assert {name: n for name, n in counts.items() if n > 8} == {}
