"""What a filtered model is worth to a policy: three hosts on two recordings, beside what the model promised."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from environments.offline.experiments.offline_policies import EXPERIMENT, HOSTS, NO_FILTER, TRUNCATIONS
from environments.offline.scores import published_scores
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.offline_policies_panels import draw

TITLE = "Policies learned in a model of recorded data, with and without a filter on the model"
EXTRA = ("torch", "stable_baselines3", "gymnasium", "mujoco")
RECORDED = ("small", "gpu")

PAPER = "2310.05422"
SEEDS = 3
_ENOUGH = f"undecided with fewer than {SEEDS} seeds or two recordings"
_SMALL = (
    "Replays of 10,000 rows, 3000 updates of small networks and rollouts of 20 steps, where the paper has up to 2 "
    "million rows, 3 million updates and 100 steps; the dynamics reward is the noise ladder's, not the paper's. The "
    "interval is over pairs of recording and seed: two recordings say little of others. The thresholds were written "
    "before anything was run; parts of two earlier recordings, with worse models, were seen and given up before this."
)

CLAIMS = (
    Claim(
        id="filter-over-plain",
        paper=PAPER,
        title="A filtered model earns more than the plain one, and promises less that it does not keep",
        says="With SAC alone as host and rejected steps stored as terminal, as in the official code, the filter raises "
        "the real return and narrows the gap between it and the return in the model.",
        threshold="95% intervals of both paired differences of scores, over recordings and seeds, on the right side of "
        f"0; refuted if either mean is on the wrong side ({_ENOUGH}, or with right means and an interval around 0)",
        published="+4.6% over the previous best on D4RL, +25.9% on NeoRL, with MOPO and MOBILE as hosts (abstract)",
        limits=_SMALL,
    ),
    Claim(
        id="filter-narrows-gap",
        paper=PAPER,
        title="A filtered model keeps its promises better, whatever the host",
        says="Over all three hosts the filter narrows the gap between a policy's return in the model, selection "
        "included but nothing rejected, and in the environment.",
        threshold="95% interval of the paired difference of absolute gaps of scores below 0; refuted if above 0 "
        f"({_ENOUGH}, or otherwise)",
        published="none",
        limits=_SMALL,
    ),
    Claim(
        id="filter-adds-to-penalties",
        paper=PAPER,
        title="The filter adds to the penalties of MOPO and MOBILE",
        says="With either host the real return is higher with the filter, rejected steps stored as terminal, than "
        "without it.",
        threshold="95% interval of the paired difference of scores above 0; refuted if its mean is at most 0 "
        f"({_ENOUGH}, or with a mean above 0 and an interval around it)",
        published="D4RL mean 80.0 (MOBILE) and 83.7 with the filter, as the abstract implies",
        limits=_SMALL + " One weight a penalty, by a rule that was fixed before this recording.",
    ),
    Claim(
        id="terminal-over-others",
        paper=PAPER,
        title="Storing rejected steps as terminal earns more than bootstrapping or dropping them",
        says="The official code gives a rejected step the value of its reward alone, which punishes leaving what is "
        "known; the alternatives only end the rollout.",
        threshold="95% interval of the score with terminal less the mean of the other two, paired over recordings, "
        f"hosts and seeds, above 0; refuted if below 0 ({_ENOUGH}, or otherwise)",
        published="none: the official code has no other",
        limits=_SMALL,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """A row an arm, recording and seed: what the policy earned, what the model promised, and the last rollouts."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds by recording and arm; beside the hopper's, the published score of the nearest kind."""
    rows = []
    for (data, host, truncation), of_arm in frame.groupby(["data", "host", "truncation"], sort=False):
        rows.append(
            {
                "recording": data,
                "host": host,
                "filter": truncation,
                "real return": of_arm.real_return.mean(),
                "score": of_arm.score.mean(),
                "return in the model": of_arm.promised_return.mean(),
                "gap of scores": (of_arm.promised_score - of_arm.score).abs().mean(),
                "rollout length": of_arm.mean_length.mean(),
                "share rejected": of_arm.share_truncated.mean(),
                "published score": _published(data, host, truncation),
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "filter-over-plain": _over_plain(frame),
        "filter-narrows-gap": _narrows(frame),
        "filter-adds-to-penalties": _adds(frame),
        "terminal-over-others": _terminal(frame),
    }


def _published(data: str, host: str, truncation: str) -> str:
    """Scores on D4RL's hopper-medium-replay-v2, which has 40 times as many rows and a better policy's."""
    method = {("mopo", NO_FILTER): "MOPO", ("mobile", NO_FILTER): "MOBILE", ("mopo", "terminal"): "MOREC-MOPO"}
    for one in published_scores():
        if (
            data == "Hopper"
            and one.task == "hopper-medium-replay-v2"
            and one.method == method.get((host, truncation), "")
        ):
            return f"{one.score:g}" + (" (from memory, unverified)" if one.status == "memory" else "")
    return ""


def _wide(frame: pd.DataFrame, column: pd.Series, hosts: tuple[str, ...]) -> pd.DataFrame:
    """Values by recording, host and seed (rows) and by what becomes of rejected steps (columns)."""
    chosen = frame.assign(value=column)[frame.host.isin(hosts)]
    return chosen.pivot_table(index=["data", "host", "seed"], columns="truncation", values="value").dropna()


def _gaps(frame: pd.DataFrame) -> pd.Series:
    return (frame.promised_score - frame.score).abs()


def _difference(wide: pd.DataFrame) -> np.ndarray:
    """Filter with terminal less no filter: mean and interval over pairs."""
    return mean_interval((wide["terminal"] - wide[NO_FILTER]).to_numpy())


def _enough(frame: pd.DataFrame) -> bool:
    return frame.seed.nunique() >= SEEDS and frame.data.nunique() >= 2


def _judged(frame: pd.DataFrame, outcome: str, found: np.ndarray, name: str, sentence: str) -> Verdict:
    value, interval = for_verdict(found)
    return Verdict(outcome if _enough(frame) else "undecided", f"{name} {value:+.2f}", value, interval, sentence)


def _by_data(wide: pd.DataFrame) -> str:
    """Means of both columns by recording."""
    means = wide.groupby(level="data")[["terminal", NO_FILTER]].mean()
    return "; ".join(f"{data} {row['terminal']:.1f} against {row[NO_FILTER]:.1f}" for data, row in means.iterrows())


def _over_plain(frame: pd.DataFrame) -> Verdict:
    scores, gaps = _wide(frame, frame.score, ("plain",)), _wide(frame, _gaps(frame), ("plain",))
    earned, gap = _difference(scores), _difference(gaps)
    if earned[0] <= 0 or gap[0] >= 0:
        outcome = "refuted"
    else:
        outcome = "supported" if earned[1] > 0 and gap[2] < 0 else "undecided"
    return _judged(
        frame,
        outcome,
        earned,
        "score, filter less none",
        f"Scores with the filter and without: {_by_data(scores)}. Gaps between model and environment: {_by_data(gaps)} "
        f"(difference {gap[0]:+.1f}, interval {gap[1]:+.1f} to {gap[2]:+.1f}).",
    )


def _narrows(frame: pd.DataFrame) -> Verdict:
    wide = _wide(frame, _gaps(frame), HOSTS)
    found = _difference(wide)
    outcome = "supported" if found[2] < 0 else "refuted" if found[1] > 0 else "undecided"
    return _judged(
        frame,
        outcome,
        found,
        "gap of scores, filter less none",
        f"Mean absolute gap with the filter and without, over hosts: {_by_data(wide)}.",
    )


def _adds(frame: pd.DataFrame) -> Verdict:
    wide = _wide(frame, frame.score, ("mopo", "mobile"))
    found = _difference(wide)
    outcome = "refuted" if found[0] <= 0 else "supported" if found[1] > 0 else "undecided"
    by_host = [
        f"{host} {row['terminal']:.1f} against {row[NO_FILTER]:.1f}"
        for host, row in wide.groupby(level="host", sort=False).mean().iterrows()
    ]
    return _judged(
        frame,
        outcome,
        found,
        "score, filter less none",
        f"Mean scores with the filter and without: {'; '.join(by_host)}.",
    )


def _terminal(frame: pd.DataFrame) -> Verdict:
    wide = _wide(frame, frame.score, HOSTS)
    found = mean_interval((wide["terminal"] - wide[["bootstrap", "drop"]].mean(axis=1)).to_numpy())
    outcome = "supported" if found[1] > 0 else "refuted" if found[2] < 0 else "undecided"
    means = ", ".join(f"{mode} {wide[mode].mean():.1f}" for mode in TRUNCATIONS)
    share = frame[frame.truncation == "terminal"].share_truncated.mean()
    return _judged(
        frame,
        outcome,
        found,
        "score, terminal less the others",
        f"Mean scores: {means}; {share:.0%} of the last rollouts ended by rejection.",
    )
