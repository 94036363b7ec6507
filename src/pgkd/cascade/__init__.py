"""A student that answers where it is sure, and a teacher that is asked about the rest.

May import everything but `models`, `reporting` and `classifier`.
"""

from pgkd.cascade.classifier import CascadeClassifier

__all__ = ["CascadeClassifier"]
