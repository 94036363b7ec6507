"""What a run did, and how that is told.

`findings` is what is known of it; `charts` and `sections` make blocks of it, which know nothing of
how they are written: `rendering` writes them as Markdown, `page` as HTML, and `pgkd.plots` draws
the charts with matplotlib.

May import: `models` and what is below.
"""
