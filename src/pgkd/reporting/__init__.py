"""What a run did, as a record, as Markdown and as a plot.

May import: `models` and what is below.
"""
