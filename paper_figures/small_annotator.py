"""A language model of 135 million parameters as annotator of NetHack's messages: by prompt, and as frozen encoder."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.small_annotator import EXPERIMENT, FIXED, SENTENCES, WORDS
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.small_annotator_panels import EARLIER, draw, model_of, of, shown_labels

EXTRA = ("torch", "transformers", "nle")
RECORDED = ("small", "gpu")
TITLE = "A small language model as annotator of NetHack's messages"

PAPER = "2410.23022"
FEWEST_STREAMS = 3  # below, nothing is decided
_LIMITS = (
    "One model, one wording of each prompt, the truth are rules on words, and distinct messages count alike, however "
    "often the game shows them."
)
_PILOT = f"{_LIMITS} Prompts and probe had been tried on one other sample before the thresholds were written."

CLAIMS = (
    Claim(
        id="prompts-fail",
        paper=PAPER,
        title="Asked by a prompt, so small a model is no annotator",
        says="Without an example it says no to nearly everything, and with 8 examples its labels are little better "
        "than a coin's.",
        threshold="at most .2 of the helpful messages found without an example, and balanced accuracy with 8 examples "
        "below .75 with its interval (refuted with it above .75, or if more than half are found without an example)",
        published="none for this size: the paper asks 8 billion parameters; earlier calculation: areas .39 and .69",
        limits=_PILOT,
    ),
    Claim(
        id="probe-works",
        paper=PAPER,
        title="As a frozen encoder under a linear probe it labels well",
        says="A ridge probe on the mean hidden state of layer 15 ranks messages with an area of .93 or more from 100 "
        "labelled ones.",
        threshold="area at 100 labels at least .93 with its interval (refuted with it below)",
        published="earlier calculation: .949",
        limits=_PILOT,
    ),
    Claim(
        id="model-beats-words",
        paper=PAPER,
        title="The language model knows more than the words",
        says="With 100 labels its probe ranks better than the same probe on a hashed bag of words.",
        threshold="area at least .02 higher with the interval above 0 (refuted with the interval below .02)",
        published="",
        limits=f"{_LIMITS} Rules on words favour words.",
    ),
    Claim(
        id="model-carries-over",
        paper=PAPER,
        title="What it knows carries over to progress of a kind that no label showed",
        says="Fitted to kills it finds messages of gold better than chance and than the bag of words, and the other "
        "way round.",
        threshold="area, mean of both directions, at least .6 with its interval, and .1 above the bag of words' with "
        "the interval of the difference above 0 (refuted with the interval of the area below .6)",
        published="",
        limits=f"{_LIMITS} Two kinds. That the area itself must be above chance was added when one player had been "
        "seen: the bag of words is so far below chance that a difference alone would have called chance a success.",
    ),
    Claim(
        id="sentence-encoder-suffices",
        paper=PAPER,
        title="A sentence encoder of 22 million parameters does as well for less",
        says="Under the same probe and 100 labels it ranks as well as the language model at under half of its cost.",
        threshold="area at most .01 lower, with the interval, and cost below half (refuted with the interval below "
        "-.01, or at a higher cost)",
        published="",
        limits=f"{_LIMITS} Times were taken on a machine that was busy with other work.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows of areas, shares and costs by stream; see `llm_scale.experiments.small_annotator`."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every annotator: area, labels given, cost, and the earlier calculation's area."""
    model = model_of(frame)
    rows = [(f"{model}, {form}", 0) for form in ("no example", "8 examples")]
    counts = sorted(frame[(frame.part == "area") & (frame.labels > 0)].labels.unique())
    rows += [(name, each) for name in (model, f"{model}, penalty {FIXED:g}", SENTENCES, WORDS) for each in counts]
    found = []
    for name, labels in rows:
        if not len(of(frame, "area", name, labels)):
            continue
        parts = {part: _interval(of(frame, part, name, labels))[0] for part in ("right", "found", "false")}
        area, low, high = _interval(of(frame, "area", name, labels))
        cost = _interval(of(frame, "cost", name))[0] * 1000
        earlier = EARLIER.get(name.split(", ")[-1] if labels == 0 else labels) if name.startswith(model) else None
        found.append((name, labels, area, low, high, earlier, *parts.values(), cost))
    columns = ["annotator", "labels", "area", "low", "high", "earlier area"]
    columns += ["balanced accuracy", "helpful found", "others called helpful", "ms a message"]
    return pd.DataFrame(found, columns=columns)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "prompts-fail": _prompts(frame),
        "probe-works": _probe(frame),
        "model-beats-words": _beats(frame),
        "model-carries-over": _carries(frame),
        "sentence-encoder-suffices": _sentences(frame),
    }


def _verdict(frame: pd.DataFrame, supported: bool, refuted: bool, *rest) -> Verdict:
    """Fewer than three streams decide nothing."""
    enough = frame.stream.nunique() >= FEWEST_STREAMS
    return Verdict(
        "undecided" if not enough else "supported" if supported else "refuted" if refuted else "undecided", *rest
    )


def _interval(values: np.ndarray) -> np.ndarray:
    return mean_interval(values) if len(values) > 1 else np.full(3, np.nan)


def _gain(frame: pd.DataFrame, one: str, other: str) -> np.ndarray:
    """Difference of two encoders' areas, stream by stream."""
    count = shown_labels(frame)
    first, second = (of(frame, "area", name, count) for name in (one, other))
    return _interval(first - second) if len(first) == len(second) else np.full(3, np.nan)


def _prompts(frame: pd.DataFrame) -> Verdict:
    model = model_of(frame)
    right = _interval(of(frame, "right", f"{model}, 8 examples"))
    none, no_area = (_interval(of(frame, part, f"{model}, no example"))[0] for part in ("found", "area"))
    found, false, area = (_interval(of(frame, part, f"{model}, 8 examples"))[0] for part in ("found", "false", "area"))
    return _verdict(
        frame,
        none <= 0.2 and right[2] < 0.75,
        none > 0.5 or right[1] > 0.75,
        f"balanced accuracy with 8 examples {right[0]:.2f}",
        *for_verdict(right),
        f"Without an example it finds {none:.0%} of the helpful messages (area {no_area:.2f}); with 8 examples "
        f"{found:.0%}, and calls {false:.0%} of the others helpful (area {area:.2f}).",
    )


def _probe(frame: pd.DataFrame) -> Verdict:
    model, count = model_of(frame), shown_labels(frame)
    fixed = _interval(of(frame, "area", f"{model}, penalty {FIXED:g}", count))
    chosen = _interval(of(frame, "area", model, count))
    return _verdict(
        frame,
        fixed[1] >= 0.93,
        fixed[2] < 0.93,
        f"area under the curve {fixed[0]:.3f}, {count} labels",
        *for_verdict(fixed),
        f"Area {fixed[0]:.3f} with penalty {FIXED:g}, {chosen[0]:.3f} with one chosen by leave-one-out error.",
    )


def _beats(frame: pd.DataFrame) -> Verdict:
    count = shown_labels(frame)
    gain = _gain(frame, model_of(frame), WORDS)
    model, words = (_interval(of(frame, "area", name, count))[0] for name in (model_of(frame), WORDS))
    return _verdict(
        frame,
        gain[0] >= 0.02 and gain[1] > 0,
        gain[2] < 0.02,
        f"area above the bag of words' {gain[0]:+.3f}, {count} labels",
        *for_verdict(gain),
        f"Area {model:.3f} with the language model and {words:.3f} with the bag of words.",
    )


def _carries(frame: pd.DataFrame) -> Verdict:
    areas = {
        name: [of(frame, "other kind", f"{name}: {way}") for way in ("kills to gold", "gold to kills")]
        for name in (model_of(frame), WORDS)
    }
    model, words = areas.values()
    whole = len({len(part) for part in (*model, *words)}) == 1
    gain = _interval(np.mean(model, axis=0) - np.mean(words, axis=0)) if whole else np.full(3, np.nan)
    area = _interval(np.mean(model, axis=0)) if whole else np.full(3, np.nan)
    means = [part.mean() if len(part) else np.nan for part in (*model, *words)]
    return _verdict(
        frame,
        area[1] >= 0.6 and gain[0] >= 0.1 and gain[1] > 0,
        area[2] < 0.6,
        f"area under the curve {area[0]:.2f} on the other kind",
        *for_verdict(area),
        f"From kills to gold {means[0]:.2f} with the language model and {means[2]:.2f} with the bag of words, from "
        f"gold to kills {means[1]:.2f} and {means[3]:.2f}; .5 is chance.",
    )


def _sentences(frame: pd.DataFrame) -> Verdict:
    count = shown_labels(frame)
    gain = _gain(frame, SENTENCES, model_of(frame))
    cost = _interval(of(frame, "cost", SENTENCES))[0] / _interval(of(frame, "cost", model_of(frame)))[0]
    area = _interval(of(frame, "area", SENTENCES, count))[0]
    return _verdict(
        frame,
        gain[1] > -0.01 and cost < 0.5,
        gain[2] < -0.01 or cost > 1,
        f"area above the language model's {gain[0]:+.3f}, {count} labels",
        *for_verdict(gain),
        f"Area {area:.3f} at {cost:.2f} of the language model's processor time.",
    )
