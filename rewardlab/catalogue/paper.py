"""What the catalogue says of a paper."""

from dataclasses import dataclass

__all__ = ["Paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A paper and what this project makes of it.

    Args:
        title: Full title.
        year: Year of its first appearance.
        arxiv: arXiv id, or None where the paper is not there.
        question: The question its room answers.
        method: The method in a line.
        functions: Dotted names of the public functions that implement it.
        figures: Ids of the figures that test its claims.
        notebook: Name of the notebook that walks through it, without its suffix, or None.
    """

    title: str
    year: int
    arxiv: str | None
    question: str
    method: str
    functions: tuple[str, ...]
    figures: tuple[str, ...] = ()
    notebook: str | None = None
