"""Real data by name: downloaded once from a pinned commit, or read from a folder that holds it already; always checked.

>>> from environments import data
>>> data.names("gsm8k/")
('gsm8k/example_model_solutions.jsonl', 'gsm8k/test.jsonl', 'gsm8k/train.jsonl')

`data.path(name)` is the one call a reader of the data needs.
"""

from environments.data.registry import FOLDER_VARIABLE, DataError, DataFile, entry, names, path

__all__ = ["FOLDER_VARIABLE", "DataError", "DataFile", "entry", "names", "path"]
