"""The kinds of source: one connector each, all behind `resources/sources.py`."""
