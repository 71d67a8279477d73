"""Loading and saving without progress bars: what takes a second needs none."""

import contextlib
from collections.abc import Iterator

from transformers.utils import logging

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers; shown again afterwards if they were before."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
