"""What a run has made: a classifier that predicts, is trained again, saved and loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from pgkd.evaluation.calibration import apply_temperature
from pgkd.exceptions import InvalidInputError
from pgkd.inputs.validation import check_mask
from pgkd.loop.choice import FACTORS
from pgkd.loop.learner import Learner
from pgkd.models import persistence
from pgkd.models.abstention import AbstainingClassifier
from pgkd.records import Example, FloatArray, SyntheticText
from pgkd.students.any_student import predict_label_proba, predict_proba

Self = TypeVar("Self", bound="DistilledClassifier")


class DistilledClassifier(AbstainingClassifier):
    """A student with what is known of its run; `PGKDClassifier` makes it.

    The fitted attributes are documented there.
    """

    refit_mask_: NDArray[np.bool_] | None

    @property
    def temperature_(self) -> float:
        """By which the student's logits are divided."""
        return 1.0 if self.calibration_ is None else self.calibration_.temperature

    @property
    def _result(self) -> str:
        if not hasattr(self, "history_"):
            return ""
        found = str(self.comparison_ or "no labelled text judges it")
        if self.refit_mask_ is not None:
            found = f"before refit: {found}"
        return f"{found}; {self.usage_.told}" if self.usage_.n_requests else found

    def _list_parts(self) -> dict[str, str | None]:
        """Return the parts, without the default sampler where nobody is asked."""
        is_used = self.teacher is not None or self.sampler is not None
        return {name: own for name, own in self._parts.items() if is_used or name != "sampler"}

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        if self.multilabel_:
            return predict_label_proba(self.student_, texts, len(self.classes_))
        probabilities = predict_proba(self.student_, texts, self.classes_)
        return apply_temperature(probabilities, self.temperature_)

    def refit(self: Self, mask: Any = None) -> Self:
        """Train ``student_`` anew on the labelled texts and on generated ones of your choice.

        The teacher is not asked. `synthetic_`, `history_` and `comparison_` go on to describe what
        `fit` did; ``refit_mask_`` tells what ``student_`` has learnt since.

        Parameters
        ----------
        mask : array-like of bool of shape (n_synthetic,), callable or None, default=None
            Which texts of `synthetic_` are learnt; a callable gets each
            :class:`~pgkd.records.SyntheticText` and returns a bool. ``None``: the accepted ones, so
            that ``student_`` becomes what `fit` made it. A text that was not accepted gets the
            weight of its step, 0.1 if that was not taken.

        Returns
        -------
        self : PGKDClassifier
            Without a threshold: it was measured on another student. The temperature stays.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If `mask` does not fit `synthetic_`, chooses a text whose label is none of ``classes_``
            or leaves nothing to learn, or the classifier was loaded from a directory, which holds
            no labelled texts. A pickle does.
        """
        check_is_fitted(self)
        if getattr(self, "_labelled", None) is None:
            raise InvalidInputError(
                "`refit` needs the labelled texts, which a saved classifier does not hold: call it "
                "before `save`, or pickle the classifier with joblib.dump instead."
            )
        chosen = check_mask(mask, self.synthetic_, self.classes_)
        examples = [
            Example(text.text, text.label, self._weigh(text))
            for text, is_chosen in zip(self.synthetic_, chosen)
            if is_chosen
        ]
        if not examples and not len(self._labelled):
            raise InvalidInputError(
                "`mask` must choose a text at least, as there are no labelled ones. Got none."
            )
        learner = Learner(
            self.student_, self.classes_, multilabel=self.multilabel_, seed=self._seed
        )
        self.student_ = learner.fit(self._labelled, examples)
        self.refit_mask_ = chosen
        self.abstention_ = self._judged = None
        return self

    def _weigh(self, text: SyntheticText) -> float:
        if text.verdict == "accepted":
            return text.weight
        factor = self.history_[text.cycle].factor if text.cycle < len(self.history_) else 0.0
        return max(factor, min(FACTORS))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        texts: bool = False,
        token: str | None = None,
        commit_message: str = "Upload a classifier of pgkd",
    ) -> str:
        """Upload the fitted classifier to the Hugging Face hub: what `save` writes, and a card.

        The card, README.md, has the classes, the scores, what the teacher was, and the bill.

        Parameters
        ----------
        repo_id : str
            Such as ``"me/intents"``. The repository is created if there is none.
        private : bool, default=None
            Whether a new repository is private; ``None``: as the account has it, often public.
        texts : bool, default=False
            Whether the texts of ``synthetic_`` are uploaded as well, which are unlabelled and some
            labelled texts of yours among others. Without them it predicts the same, and `report`
            has none. The names and descriptions of the classes are always uploaded, and the words
            that the student has learnt, if it is one of words.
        token : str, default=None
            Of the hub; ``None``: that of ``hf auth login`` or of ``HF_TOKEN``.
        commit_message : str, default="Upload a classifier of pgkd"

        Returns
        -------
        url : str
            Where it is.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        PersistenceError
            If it cannot be saved, or the hub cannot be reached or refuses it.

        References
        ----------
        https://huggingface.co/docs/huggingface_hub/guides/upload

        Examples
        --------
        >>> clf.push_to_hub("me/intents", private=True)  # doctest: +SKIP
        'https://huggingface.co/me/intents'
        """
        from pgkd.models import hub  # and its client, not needed to predict

        check_is_fitted(self)
        return hub.push(
            self, repo_id, private=private, texts=texts, token=token, message=commit_message
        )

    @classmethod
    def from_pretrained(
        cls: type[Self],
        repo_id: str,
        *,
        revision: str | None = None,
        trusted: Sequence[str] = (),
        token: str | None = None,
    ) -> Self:
        """Load a classifier that `push_to_hub` uploaded.

        Nothing is unpickled, and no code of the repository is run.

        Parameters
        ----------
        repo_id : str
            Such as ``"me/intents"``. What the hub's cache has is not downloaded again.
        revision : str, default=None
            A branch, a tag or a commit; ``None``: the newest.
        trusted : sequence of str, default=()
            As for `load`.
        token : str, default=None
            As for `push_to_hub`.

        Returns
        -------
        classifier : PGKDClassifier
            As `load` returns it.

        Raises
        ------
        PersistenceError
            If the hub cannot be reached, there is no such repository, it has no classifier of
            pgkd, or `load` would raise it.

        Examples
        --------
        >>> clf = PGKDClassifier.from_pretrained("me/intents")  # doctest: +SKIP
        """
        from pgkd.models import hub

        return cls.load(hub.pull(repo_id, revision, token), trusted=trusted)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Save the fitted classifier to a directory: safetensors, JSON and skops, no pickle.

        The teacher is left out: the saved classifier needs neither its package nor its key. So are
        the labelled texts, but for those that the teacher was shown: they are the `seed_texts` of
        ``synthetic_``.

        Parameters
        ----------
        directory : str or path
            Created if need be; must be empty or hold a saved classifier and nothing else, which is
            replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        PersistenceError
            If the directory holds anything else or cannot be replaced, or the student cannot be
            saved without pickle, or never loaded; nothing is changed then.
        """
        check_is_fitted(self)
        persistence.save(self, Path(directory))

    @classmethod
    def load(
        cls: type[Self], directory: str | os.PathLike[str], *, trusted: Sequence[str] = ()
    ) -> Self:
        """Load a classifier that `save` wrote.

        Parameters
        ----------
        directory : str or path
        trusted : sequence of str, default=()
            Types of a scikit-learn student that are not scikit-learn's own, or the class
            ``"module:Name"`` of a student with a `save` of its own.

        Returns
        -------
        classifier : PGKDClassifier
            Fitted; it predicts the same probabilities as before. `student` is an unfitted clone of
            `student_`. For another `fit`, set again what is not kept: `teacher`, `sampler`,
            `callbacks`, `run_dir`, a callable `scoring` and a RandomState as `random_state`.

        Raises
        ------
        PersistenceError
            If `directory` holds no saved classifier, a damaged one, one of a newer version, or one
            with an untrusted type.
        """
        classifier: Self = persistence.load(cls, Path(directory), trusted)
        return classifier
