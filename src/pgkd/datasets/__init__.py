"""Real data to try things with, in scikit-learn's manner."""

from pgkd.datasets.icd10 import load_icd10
from pgkd.datasets.intents import fetch_intents

__all__ = ["fetch_intents", "load_icd10"]
