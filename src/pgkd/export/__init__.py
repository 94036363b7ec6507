"""Exported classifiers: `writer` makes them with torch; all else here reads them with numpy alone.

May import: `curation`, `evaluation` and what is below; outside `writer`, what needs numpy alone.
"""
