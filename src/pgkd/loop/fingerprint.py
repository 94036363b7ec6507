"""What decides the course of a run, by name, each as a hash."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import sklearn

from pgkd._version import __version__
from pgkd.loop.task import Settings, Task

#: Parameters of a teacher that no cache looks at, but a run.
_COUNTED = frozenset({"max_tokens", "max_followups", "price"})
#: Parameters of `Evidence` that only say how the outcome is read.
_AFTERWARDS = ("calibrate", "label_threshold")
#: Things in a parameter that are looked at, and how deep; elements of a large array.
_MOST, _DEEPEST, _SAMPLE = 20_000, 12, 1_000_000


def take_fingerprint(
    task: Task, settings: Settings, components: Mapping[str, Any], seed: int
) -> dict[str, str]:
    """Hash what decides the course of a run.

    Parameters
    ----------
    task : Task
    settings : Settings
        Nothing is open any more.
    components : mapping of str to object
        Teacher and samplers, as they are before the run.
    seed : int
    """
    labelled, own = task.labelled, len(task.learnable)
    y = labelled.y.tolist()
    logs = task.logs
    evidence = settings.evidence.get_params(deep=False)
    found = {
        "X": labelled.texts[:own],
        "y": y[:own],
        "sample_weight": None if labelled.weights is None else labelled.weights[:own].tolist(),
        "X_val": labelled.texts[own:],
        "y_val": y[own:],
        "X_unlabeled": list(task.pool),
        "logs": logs and [logs.texts, logs.labels],
        "student": describe(settings.student),
        "routes": settings.routes,
        "max_cycles": bool(settings.max_cycles),  # more of them are more of the same
        "samples_per_cycle": settings.samples_per_cycle,
        "max_cost": settings.max_cost,
        "max_tokens": settings.max_tokens,
        "scoring": describe(settings.scoring),
        **{
            f"evidence__{name}": describe(value)
            for name, value in evidence.items()
            if name not in _AFTERWARDS
        },
        "task_description": settings.task_description,
        "class_descriptions": describe(settings.class_descriptions),
        "class_names": describe(settings.class_names),
        "redact": settings.redact and list(settings.redact.known.values()),
        "random_state": seed,
        "version of pgkd": __version__,
        "version of scikit-learn": sklearn.__version__,
        **{name: describe(own, with_state=True) for name, own in components.items()},
    }
    return {name: _hash(value) for name, value in found.items()}


def find_changes(fingerprint: Mapping[str, str], components: Mapping[str, Any]) -> list[str]:
    """Name the components that are not what they were: they have a state, which dies with them."""
    return [
        name
        for name, component in components.items()
        if _hash(describe(component, with_state=True)) != fingerprint[name]
    ]


def describe(value: Any, *, with_state: bool = False) -> Any:
    """Describe a parameter in what JSON can hold, alike in all processes.

    Of an estimator that is cloned before it is used, the state does not matter.
    """
    return _Describer(with_state).describe(value, 0)


class _Describer:
    """Goes through a parameter and its parts, as long as they are not too many."""

    def __init__(self, with_state: bool) -> None:
        self._with_state = with_state
        self._n_seen = 0

    def describe(self, value: Any, depth: int) -> Any:
        self._n_seen += 1
        if self._n_seen > _MOST or depth > _DEEPEST:
            return type(value).__qualname__
        try:
            return self._describe(value, depth + 1)
        except Exception:  # a stranger's may raise anything
            return type(value).__qualname__

    def _describe(self, value: Any, depth: int) -> Any:
        inside = partial(self.describe, depth=depth)
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        if isinstance(value, os.PathLike):
            return str(Path(value))
        if isinstance(value, Mapping):
            return [[inside(key), inside(own)] for key, own in value.items()]
        if isinstance(value, (list, tuple)):
            return [inside(own) for own in itertools.islice(value, _MOST)]
        if isinstance(value, (set, frozenset)):
            return sorted(json.dumps(inside(own)) for own in value)
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            defaults = [value.__defaults__, value.__kwdefaults__]
            return [value.__qualname__, inside(value.__code__), inside(defaults), inside(cells)]
        if isinstance(value, MethodType):
            return [inside(value.__func__), inside(value.__self__)]
        if isinstance(value, partial):
            return [inside(value.func), inside(value.args), inside(value.keywords)]
        if isinstance(value, CodeType):
            return [value.co_code.hex(), inside(value.co_names), inside(value.co_consts)]
        if isinstance(value, np.random.RandomState):
            return inside(value.get_state())
        if hasattr(value, "get_params"):
            params = value.get_params(deep=False)
            if hasattr(value, "session"):
                return _describe_llm(value, params)
            state = {n: own for n, own in vars(value).items() if n not in params}
            return [inside(type(value)), inside(params), self._with_state and inside(state)]
        if hasattr(value, "__array__"):
            array = np.asarray(value)
            if array.dtype == object:
                return inside(array.tolist())
            sample = array.ravel()[:: max(1, array.size // _SAMPLE)]
            digest = hashlib.sha256(np.ascontiguousarray(sample).tobytes()).hexdigest()
            return [str(array.dtype), list(array.shape), digest]
        parts = getattr(value, "__dict__", None)
        text = repr(value)
        is_telling = " at 0x" not in text and not parts
        return [inside(type(value)), text if is_telling else inside(parts or {})]


def _describe_llm(teacher: Any, params: Mapping[str, Any]) -> Any:
    """Describe an LLM as caches do: by what changes its answers, and functions by their names."""
    hidden = teacher._without_effect - _COUNTED
    shown = {name: own for name, own in params.items() if name not in hidden}
    inner = {name: own for name, own in shown.items() if hasattr(own, "session")}
    described = {n: _describe_llm(own, own.get_params(deep=False)) for n, own in inner.items()}
    text = json.dumps({**shown, **described}, default=_name, sort_keys=True)
    return [f"{type(teacher).__module__}.{type(teacher).__qualname__}", text]


def _name(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return str(Path(value))
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
