"""Which texts of a teacher are fit to be learnt, and how much they differ from each other.

May import: `inputs`, `records`.
"""
