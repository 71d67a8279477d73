"""A reward model that likes the short (or the long), a rule on half of the prompts, and a length term: who wins?"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import above, for_verdict, mean_interval
from paper_figures.style import BLUE, GREY, ORANGE
from rewardlab.transforms.advantages import mean_centred, standardised
from rewardlab.transforms.hybrid import group_length_penalty, hybrid_reward

TITLE = "Rules where they apply, a biased reward model elsewhere, and a length term"

LENGTHS = np.arange(1.0, 17.0)
ACCURACY = 0.2 + 0.7 * (1 - np.exp(-LENGTHS / 5))
SLOPE, NOISE = 0.06, 0.05  # of the reward model: what it thinks of a token, and what it cannot tell
GROUP, RATE = 8, 0.15
LENGTH_TERM = {"max_penalty": 0.5, "tolerance": 0.5}

BIASES = {"short": "a reward model that likes the short", "long": "a reward model that likes the long"}
VERIFIABLE = {"model": 0.0, "rule": 1.0}  # share of prompts that a rule decides; half where not listed
REWARDS = {
    "model": "model\nonly",
    "rule": "rule\nonly",
    "hybrid": "hybrid",
    "short": "hybrid +\nshort side",
    "long": "hybrid +\nlong side",
    "both": "hybrid +\nboth sides",
}
ADVANTAGES = {"mean": "group mean taken off", "std": "and divided by the group's standard deviation"}
# accuracy and mean length found by separate code before this figure was written; 10 seeds, short bias
EARLIER = {
    ("model", "mean"): (0.395, 2.0),
    ("model", "std"): (0.349, 1.2),
    ("rule", "mean"): (0.830, 13.0),
    ("rule", "std"): (0.861, 15.0),
    ("hybrid", "mean"): (0.703, 7.5),
    ("hybrid", "std"): (0.502, 2.9),
    ("short", "mean"): (0.829, 12.2),
    ("short", "std"): (0.825, 11.2),
}

PAPER = "2510.05283"
KNOWN = "The length term is a reconstruction and the world has 16 responses; numbers like these were known beforehand."
UNKNOWN = "The length term is a reconstruction and the world has 16 responses; nothing was known of this beforehand."
CLAIMS = (
    Claim(
        id="hybrid-beats-model",
        paper=PAPER,
        title="A rule on half of the prompts rescues a biased reward model",
        says="Trained on rule and model rewards the policy is right more often than trained on the model alone.",
        threshold="accuracy at least .1 higher, 95% interval over seeds above 0 (refuted if it is below 0)",
        published="+9.5% on average, +16% on mathematics, of a 3B model over its own start",
        limits=KNOWN,
    ),
    Claim(
        id="length-term-stops-brevity",
        paper=PAPER,
        title="The length term stops the drift to short answers",
        says="A penalty on answers shorter than the group's right ones keeps length and accuracy up.",
        threshold="at least 2 tokens longer and .05 more accurate than the hybrid alone, both intervals above 0 "
        "(refuted if one is below 0)",
        published="",
        limits=f"{KNOWN} Where advantages are also divided by the standard deviation, which does not decide here, the "
        "earlier code's short side came out longer (11.2 tokens) and more accurate (.825) than ours (10.7, .817), "
        "outside our intervals.",
    ),
    Claim(
        id="std-amplifies-bias",
        paper=PAPER,
        title="Dividing by the group's standard deviation feeds the bias",
        says="It makes the model's small differences count as much as right and wrong, and the hybrid suffers.",
        threshold="accuracy of the hybrid at least .05 lower with it, interval above 0 (refuted if it is below 0)",
        published="",
        limits=KNOWN,
    ),
    Claim(
        id="long-side-stops-length",
        paper=PAPER,
        title="The long side holds a model that likes length, at no cost",
        says="Against a model that likes long answers, the long side shortens them and leaves accuracy where it was.",
        threshold="mean length at least 1 token below the hybrid's, interval above 0, and accuracy at most .02 lower "
        "(refuted if either interval is on the wrong side)",
        published="",
        limits=UNKNOWN + " Longer answers are never worse in it, so the drift it stops did accuracy no harm.",
    ),
    Claim(
        id="both-sides-serve-both",
        paper=PAPER,
        title="One two-sided term serves whatever the bias",
        says="The two-sided term does as well as the side that fits, without knowing which way the model is biased.",
        threshold="accuracy at most .02 below the fitting side's under either bias "
        "(refuted if an interval of the loss is above .02)",
        published="",
        limits=UNKNOWN,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a bias, reward, advantage and seed: final accuracy and mean length of the policy."""
    steps, seeds = scale.pick(smoke=(1500, 4), small=(1500, 10), paper=(1500, 50))
    arms = pd.DataFrame(list(itertools.product(BIASES, REWARDS, ADVANTAGES)), columns=["bias", "reward", "advantage"])
    policy = _trained(arms, steps, seeds, np.random.default_rng(rng))
    frame = arms.loc[arms.index.repeat(seeds)].reset_index(drop=True)
    frame = frame.assign(seed=np.tile(np.arange(seeds), len(arms)), steps=steps)
    return frame.assign(accuracy=(policy @ ACCURACY).ravel(), length=(policy @ LENGTHS).ravel())


def _trained(arms: pd.DataFrame, steps: int, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Policies `(arms, seeds, responses)` after training from uniform; a seed means the same luck in every arm."""
    share = arms.reward.map(VERIFIABLE).fillna(0.5).to_numpy()[:, None, None]
    liking = np.where(arms.bias == "short", -SLOPE, SLOPE)[:, None, None]
    logits = np.zeros((len(arms), seeds, len(LENGTHS)))
    for _ in range(steps):
        policy = _softmax(logits)
        draw, truth, score_noise = (
            rng.random((seeds, GROUP)),
            rng.random((seeds, GROUP)),
            rng.normal(size=(seeds, GROUP)),
        )
        verifiable = rng.random((seeds, 1)) < share
        chosen = (draw[..., None] > policy.cumsum(-1)[:, :, None, :-1]).sum(-1)
        correct = truth < ACCURACY[chosen]
        model = 0.5 * ACCURACY[chosen] + liking * LENGTHS[chosen] + NOISE * score_noise
        reward = hybrid_reward(verifiable, correct.astype(float), model)
        for side in ("short", "long", "both"):
            here = (arms.reward == side).to_numpy()
            reward[here] += group_length_penalty(LENGTHS[chosen][here], correct[here], **LENGTH_TERM, side=side)
        logits += RATE * _policy_gradient(policy, chosen, _advantages(arms, reward))
    return _softmax(logits)


def _advantages(arms: pd.DataFrame, reward: np.ndarray) -> np.ndarray:
    divided = (arms.advantage == "std").to_numpy()[:, None, None]
    return np.where(divided, standardised(reward, correction=0), mean_centred(reward))


def _policy_gradient(policy: np.ndarray, chosen: np.ndarray, advantage: np.ndarray) -> np.ndarray:
    """Mean over the group of advantage times the gradient of the chosen response's log-probability."""
    responses = policy.shape[-1]
    row = np.arange(policy[..., 0].size).reshape(*policy.shape[:-1], 1)
    pushed = np.bincount((row * responses + chosen).ravel(), advantage.ravel(), minlength=policy.size)
    return (pushed.reshape(policy.shape) - policy * advantage.sum(-1, keepdims=True)) / chosen.shape[-1]


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10.5, 6.6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, (bias, name) in enumerate(BIASES.items()):
        for row, (what, label) in enumerate(
            {"accuracy": "share of right answers", "length": "mean length (tokens)"}.items()
        ):
            panel = axes[row, column]
            for shift, advantage, colour, marker in ((-0.12, "mean", BLUE, "o"), (0.12, "std", ORANGE, "s")):
                means = [mean_interval(_runs(frame, bias, reward, advantage)[what]) for reward in REWARDS]
                centre, low, high = np.transpose(means)
                panel.errorbar(
                    np.arange(len(REWARDS)) + shift,
                    centre,
                    yerr=[centre - low, high - centre],
                    color=colour,
                    marker=marker,
                    linestyle="",
                    capsize=3,
                    label=ADVANTAGES[advantage],
                )
                earlier = [
                    (place + shift, EARLIER[reward, advantage][row])
                    for place, reward in enumerate(REWARDS)
                    if bias == "short" and (reward, advantage) in EARLIER
                ]
                if earlier:
                    panel.plot(
                        *np.transpose(earlier),
                        color=GREY,
                        marker="_",
                        markersize=13,
                        linestyle="",
                        label="earlier run of separate code" if advantage == "std" else None,
                    )
            panel.set_xticks(range(len(REWARDS)), list(REWARDS.values()))
            if column == 0:
                panel.set_ylabel(label)
        axes[0, column].set_title(name[0].upper() + name[1:])
    axes[0, 0].set_ylim(0, 1)
    axes[1, 0].set_ylim(0, 17)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 1].legend(handles[1:] + handles[:1], labels[1:] + labels[:1], loc="lower left", title="advantage")
    figure.suptitle(f"After {frame.steps.iloc[0]} steps; mean and 95% interval over {frame.seed.nunique()} seeds")
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and mean length by bias, reward and advantage, and what separate code found earlier."""
    means = frame.groupby(["bias", "reward", "advantage"])[["accuracy", "length"]].mean()
    rows = []
    for bias, reward, advantage in itertools.product(BIASES, REWARDS, ADVANTAGES):
        earlier = EARLIER.get((reward, advantage)) if bias == "short" else None
        rows.append(
            {
                "model likes": bias,
                "reward": REWARDS[reward].replace("\n", " "),
                "divided by std": advantage == "std",
                "accuracy": means.accuracy[bias, reward, advantage],
                "accuracy, earlier code": earlier[0] if earlier else None,
                "length": means.length[bias, reward, advantage],
                "length, earlier code": earlier[1] if earlier else None,
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    lead = _difference(frame, "accuracy", ("short", "hybrid", "mean"), ("short", "model", "mean"))
    longer = _difference(frame, "length", ("short", "short", "mean"), ("short", "hybrid", "mean"))
    righter = _difference(frame, "accuracy", ("short", "short", "mean"), ("short", "hybrid", "mean"))
    undivided = _difference(frame, "accuracy", ("short", "hybrid", "mean"), ("short", "hybrid", "std"))
    shorter = _difference(frame, "length", ("long", "hybrid", "mean"), ("long", "long", "mean"))
    cost = _difference(frame, "accuracy", ("long", "hybrid", "mean"), ("long", "long", "mean"))
    losses = {bias: _difference(frame, "accuracy", (bias, bias, "mean"), (bias, "both", "mean")) for bias in BIASES}
    worse = max(losses, key=lambda bias: losses[bias][0])
    return {
        "hybrid-beats-model": Verdict(
            above(lead, 0.1),
            f"accuracy {lead[0]:+.3f}",
            *for_verdict(lead),
            f"{_where(frame, 'short', 'hybrid')} with the hybrid, {_where(frame, 'short', 'model')} with the model.",
        ),
        "length-term-stops-brevity": Verdict(
            _worst(above(longer, 2), above(righter, 0.05)),
            f"length {longer[0]:+.2f} tokens, accuracy {righter[0]:+.3f}",
            *for_verdict(longer),
            f"{_where(frame, 'short', 'short')} with the term, {_where(frame, 'short', 'hybrid')} without.",
        ),
        "std-amplifies-bias": Verdict(
            above(undivided, 0.05),
            f"accuracy lost to the division: {undivided[0]:.3f}",
            *for_verdict(undivided),
            f"The hybrid ends at {_where(frame, 'short', 'hybrid')} without the division and at "
            f"{_where(frame, 'short', 'hybrid', 'std')} with it.",
        ),
        "long-side-stops-length": Verdict(
            _worst(above(shorter, 1), _at_most(cost, 0.02)),
            f"{shorter[0]:.2f} tokens shorter, accuracy {-cost[0]:+.3f}",
            *for_verdict(shorter),
            f"{_where(frame, 'long', 'long')} with the long side, {_where(frame, 'long', 'hybrid')} without.",
        ),
        "both-sides-serve-both": Verdict(
            _worst(*(_at_most(loss, 0.02) for loss in losses.values())),
            f"larger loss of accuracy {losses[worse][0]:.3f} ({BIASES[worse]})",
            *for_verdict(losses[worse]),
            "Two-sided against the fitting side: "
            + "; ".join(
                f"{_where(frame, bias, 'both')} against {_where(frame, bias, bias)} with {name}"
                for bias, name in BIASES.items()
            )
            + ".",
        ),
    }


def _runs(frame: pd.DataFrame, bias: str, reward: str, advantage: str) -> pd.DataFrame:
    return frame[(frame.bias == bias) & (frame.reward == reward) & (frame.advantage == advantage)].sort_values("seed")


def _difference(frame: pd.DataFrame, what: str, more: tuple, less: tuple) -> np.ndarray:
    return mean_interval(_runs(frame, *more)[what].to_numpy() - _runs(frame, *less)[what].to_numpy())


def _where(frame: pd.DataFrame, bias: str, reward: str, advantage: str = "mean") -> str:
    runs = _runs(frame, bias, reward, advantage)
    return f"{100 * runs.accuracy.mean():.0f}% right at {runs.length.mean():.1f} tokens"


def _at_most(found: tuple[float, float, float], most: float) -> str:
    """Supported with a mean of at most `most`, refuted with the whole interval above it."""
    mean, low, _ = found
    return "refuted" if low > most else "supported" if mean <= most else "undecided"


def _worst(*outcomes: str) -> str:
    return next(outcome for outcome in ("refuted", "undecided", "supported") if outcome in outcomes)
