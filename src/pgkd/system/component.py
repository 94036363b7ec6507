"""What notebooks show of an estimator: scikit-learn's diagram, its parts, links to the docs."""

from __future__ import annotations

import html
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from types import SimpleNamespace
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils import estimator_html_repr
from sklearn.utils._param_validation import InvalidParameterError, StrOptions

from pgkd.exceptions import InvalidInputError, did_you_mean

#: Packages whose classes are documented by the package's name; others are by ``pgkd``.
_PACKAGES = ("samplers", "students", "teachers", "testing")


@cache
def find_docs() -> str | None:
    """Return the address of the documentation, if the installed package has one.

    It is the URL named ``Documentation`` in ``[project.urls]`` of ``pyproject.toml``.
    """
    try:
        urls = metadata("pgkd").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation")


class Component(BaseEstimator):  # type: ignore[misc]
    """Base of the classifiers, students, teachers and samplers.

    A subclass that has parts names their parameters in `_parts`; each with what `None` stands for,
    or `None` if it is left out of the diagram then.
    """

    _parts: ClassVar[dict[str, str | None]] = {}

    def set_params(self, **params: Any) -> Any:
        """Set parameters, those of parts as in ``student__max_length``.

        Raises
        ------
        InvalidInputError
            If there is no such parameter.
        """
        try:
            return super().set_params(**params)
        except InvalidInputError:  # of a part, which has said it
            raise
        except (AttributeError, ValueError):
            known = self.get_params()
            unknown = next((name for name in params if name not in known), None)
            if unknown is None:  # something else is wrong
                raise
        own = [name for name in known if "__" not in name]
        part = unknown.partition("__")[0]
        if part != unknown and part in known and not hasattr(known[part], "get_params"):
            fix = f" Its `{part}` is {known[part]!r}, which has none: set `{part}` first."
        else:
            # As student__C for student__logisticregression__C.
            deeper = [name for name in known if name.endswith(f"__{unknown.rpartition('__')[2]}")]
            is_deeper = part != unknown and deeper
            hint = f" Did you mean {deeper[0]!r}?" if is_deeper else did_you_mean(unknown, known)
            fix = f"{hint} It has {own}."
        name = type(self).__name__
        raise InvalidInputError(f"Invalid parameter {unknown!r} for {name}.{fix}") from None

    def _validate_params(self) -> None:
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            name = str(error).split("'")[1]
            options = [
                option
                for constraint in self._parameter_constraints.get(name, ())
                if isinstance(constraint, StrOptions)
                for option in constraint.options
            ]
            given = getattr(self, name)
            raise InvalidInputError(f"{error}{did_you_mean(given, options)}") from None

    @property
    def _result(self) -> str:
        """What `fit` came to, in a line."""
        return ""

    def _list_parts(self) -> dict[str, str | None]:
        """Return the parts, each with what `None` stands for."""
        return self._parts

    def _get_doc_link(self) -> str:
        root, *path = type(self).__module__.split(".")
        docs = find_docs()
        if docs is None or root != "pgkd":
            return ""
        package = f"pgkd.{path[0]}" if path[0] in _PACKAGES else "pgkd"
        return f"{docs.rstrip('/')}/api.html#{package}.{type(self).__name__}"

    def _repr_html_inner(self) -> str:
        line = f"<p>{html.escape(self._result)}</p>" if self._result else ""
        return f"{estimator_html_repr(self)}{line}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] = self._repr_html_inner()
        return bundle

    def _sk_visual_block_(self) -> Any:
        """Describe the diagram, as scikit-learn's own meta-estimators do."""
        parts = {
            f"{name}: {type(part).__name__ if given else 'by default'}": part
            for name, default in self._list_parts().items()
            for given in [getattr(self, name)]
            if (part := getattr(self, f"{name}_", given) or default) is not None
        }
        name = type(self).__name__
        if not parts:
            return SimpleNamespace(
                kind="single",
                estimators=self,
                names=name,
                name_details=str(self),
                name_caption=None,
                doc_link_label=None,
                dash_wrapped=True,
            )
        return SimpleNamespace(
            kind="parallel",
            estimators=[*parts.values()],
            names=[*parts],
            name_details=[str(part) for part in parts.values()],
            dash_wrapped=True,
        )
