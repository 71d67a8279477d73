"""Padded solutions for hypothesis: scores in [0, 1], steps first, garbage in the padding."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

unit = st.floats(0, 1).map(lambda value: round(value, 6))


@st.composite
def padded(draw, *, samples=4, steps=7, least=0):
    """(scores, mask) of up to `samples` solutions of `least` to `steps` steps; the padding holds NaN."""
    shape = draw(st.integers(1, samples)), draw(st.integers(max(1, least), steps))
    scores = draw(arrays(np.float64, shape, elements=unit))
    lengths = draw(arrays(np.int64, shape[0], elements=st.integers(least, shape[1])))
    mask = np.arange(shape[1]) < lengths[:, None]
    return np.where(mask, scores, np.nan), mask


def each(scores, mask):
    """The solutions one by one, without padding."""
    return [row[here].tolist() for row, here in zip(scores, mask, strict=True)]
