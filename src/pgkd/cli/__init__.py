"""The command line: `pgkd fit`, `plan`, `predict`, `evaluate`, `report`, `export` and `serve`.

`app` has the commands, `components` makes teachers and students of their names, `tables` reads and
writes files of texts, `messages` has errors and warnings. May import: all below.
"""
