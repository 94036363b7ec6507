"""What the user gives: texts, labels, logs; checked, and split.

`targets` has labels, one or several a text; `labels` the functions on them that need numpy alone.
May import: `system`, `exceptions`, `records`.
"""
