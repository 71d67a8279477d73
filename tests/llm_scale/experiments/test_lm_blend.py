"""A blend learned on a language model: that arms differ in nothing but their weights, and the rules of the claims."""

import copy

import numpy as np
import pandas as pd
import pytest

from llm_scale.experiments import lm_blend as experiment
from llm_scale.experiments.lm_blend import ARMS, FROM_NOTHING, FROM_SUM, NAIVE, PRIMARY, SLOW_FROM_SUM
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.supervised import warm_up
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import Sample
from llm_scale.tasks.loading import task as task_by_name
from paper_figures import lm_blend as figure

SEEDS, STEPS = 4, (0, 20, 40)
EASY = 20  # sums to learn by heart
SPREAD = np.array([-0.01, 0.01, -0.005, 0.005])  # of seeds
ACCURACY = {PRIMARY: 0.2, NAIVE: 0.0, FROM_NOTHING: 0.25, FROM_SUM: 0.22, SLOW_FROM_SUM: 0.01}


def frame(accuracy=(), overlap=2.0, longer=-0.3, steps=STEPS, seeds=SEEDS):
    """A table as the experiment gives it; every second row has no evaluation."""
    rows = []
    for arm, value in (ACCURACY | dict(accuracy)).items():
        spread = SPREAD * (arm in (FROM_NOTHING, FROM_SUM))  # so that paired differences have one
        for seed in range(seeds):
            for step in steps:
                last = step == steps[-1]
                rows.append(
                    {
                        "arm": arm,
                        "seed": seed,
                        "step": step,
                        "accuracy": np.nan if step == 20 else (value if last else 0.08) + spread[seed],
                        "overlap_weight": overlap + 10 * SPREAD[seed] if last else 0.0,
                        "longer_weight": longer + 10 * SPREAD[seed] if last else 0.0,
                        "longer": 6.0 if arm == NAIVE else 2.6,
                        "overlap_cosine": 0.5,
                        "longer_cosine": -0.1,
                    }
                )
    return pd.DataFrame(rows)


def outcomes(table):
    return {name: verdict.outcome for name, verdict in figure.verdicts(table).items()}


def test_what_the_claims_say_is_supported():
    assert set(outcomes(frame()).values()) == {"supported"}
    assert list(outcomes(frame())) == [claim.id for claim in figure.CLAIMS]


@pytest.mark.parametrize(
    ("claim", "changes"),
    [
        ("weights-tell-them-apart", {"overlap": -0.5}),
        ("weights-tell-them-apart", {"longer": 2.0}),
        ("no-worse-than-primary", {"accuracy": {FROM_NOTHING: 0.185}}),
        ("sum-falls", {"accuracy": {NAIVE: 0.3}}),
        ("commits-before-weights-move", {"accuracy": {SLOW_FROM_SUM: 0.3}}),
        ("commits-before-weights-move", {"accuracy": {FROM_SUM: 0.0}}),
    ],
)
def test_each_claim_can_be_refuted(claim, changes):
    assert outcomes(frame(**changes))[claim] == "refuted"


def test_a_harmful_weight_above_0_may_still_be_below_the_helpful_one():
    assert outcomes(frame(longer=0.4))["weights-tell-them-apart"] == "supported"


def test_a_little_lower_than_the_primary_reward_is_no_worse():
    assert outcomes(frame({FROM_NOTHING: 0.19}))["no-worse-than-primary"] == "supported"


@pytest.mark.parametrize("few", [{"seeds": 2}, {"steps": (0, 20, 39)}])
def test_too_few_seeds_or_steps_decide_nothing(few):
    assert set(outcomes(frame(**few)).values()) == {"undecided"}


def test_the_table_and_the_picture_have_every_arm():
    assert figure.table(frame()).arm.tolist() == list(ARMS)
    drawn = figure.plot(frame())
    assert [line.get_label() for line in drawn.axes[0].lines] == list(ARMS)


def test_the_harmful_reward_pays_for_every_character():
    task = task_by_name("addition:digits=2,style=bare")
    problem, path = task.problems("train", 1, seed=0)[0], RewardPath.from_toml(experiment.REWARDS, task)
    texts = (problem.gold, problem.gold + "11", "")
    signals = path([Sample(problem, text, [5, 1], True, row, 0) for row, text in enumerate(texts)], [0, 0, 0]).signals
    assert tuple(signals) == experiment.COMPONENTS
    assert signals["correct"].tolist() == [1.0, 0.0, 0.0]
    assert signals["overlap"][0] == 1.0 > signals["overlap"][1]
    assert signals["longer"].tolist() == [len(text) for text in texts]


@pytest.mark.parametrize("scale", ["smoke", "small", "gpu"])
def test_settings_and_cells_can_be_built(scale):
    cells = experiment.EXPERIMENT.cells(scale, 7)
    assert len(cells) == len(ARMS) * experiment.SIZES[scale].seeds
    settings, size = experiment.settings(scale, 7), experiment.SIZES[scale]
    assert settings.steps % (size.row_every * size.evaluations) == 0  # the last row is evaluated
    assert settings.objective == "dr_grpo"
    task_by_name(settings.task)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Smoke runs of a model that is right at times, and asked only what it was warmed up on."""
    task, lm = task_by_name("addition:digits=2,style=bare"), load("tiny-test")
    asked = [(problem.prompt, problem.gold) for problem in task.problems("train", EASY, seed=0)]
    warm_up(lm, asked, steps=60, batch_size=EASY, learning_rate=1e-2, matrix_learning_rate=2e-2, until=0.2)

    def started(*_):
        return LanguageModel(copy.deepcopy(lm.model), lm.tokenizer, lm.name, chat=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_start", started)
        patch.setattr(task.__class__, "problems", _same_sums(task.__class__.problems))
        folder = tmp_path_factory.mktemp("cell")
        return {arm: experiment.run("smoke", arm, 0, folder) for arm in ARMS}


def _same_sums(problems):
    def asked(self, split, number, seed):
        return problems(self, "train", EASY, seed=0)[:number]

    return asked


def test_arms_begin_alike_and_fixed_weights_stay(runs):
    first = {arm: rows.accuracy.iloc[0] for arm, rows in runs.items()}
    assert len(set(first.values())) == 1
    for arm in (PRIMARY, NAIVE):
        assert (runs[arm][["overlap_weight", "longer_weight"]] == ARMS[arm].start[0]).all(axis=None)


def test_weights_move_where_they_are_learned(runs):
    for arm in (FROM_NOTHING, FROM_SUM, SLOW_FROM_SUM):
        last = runs[arm].iloc[-1]
        moved = np.abs(last[["overlap_weight", "longer_weight"]].to_numpy(float) - ARMS[arm].start)
        assert (moved > 0).all()
        assert (moved <= 3 * ARMS[arm].step * np.sqrt(10)).all()  # 3 moves; none can be longer than this
    assert np.isfinite(runs[FROM_NOTHING].overlap_cosine.iloc[1:]).any()


@pytest.mark.parametrize("arm", [NAIVE, FROM_NOTHING])
def test_the_policy_climbs_the_blend_and_weights_the_primary_reward_of_the_next_batch(arm, monkeypatch, tmp_path):
    made, moves, climbed = [], [], []

    def recorded(*arguments, **options):
        made.append(gradients(*arguments, **options))
        return made[-1]

    gradients = experiment.component_gradients
    monkeypatch.setattr(experiment, "component_gradients", recorded)
    monkeypatch.setattr(experiment.BlendWeights, "move", lambda self, *given: moves.append(given))
    monkeypatch.setattr(experiment, "put_gradient", lambda lm, ascent: climbed.append(ascent))
    experiment.run("smoke", arm, 0, tmp_path)
    assert len(made) == len(moves) + 1 == experiment.settings("smoke", 0).steps
    for (primary, auxiliary), before, now in zip(moves, made[:-1], made[1:], strict=True):
        assert primary.equal(now[0])
        assert auxiliary.equal(before[1:])
        assert not before[2].equal(now[2])
    for ascent, components in zip(climbed, made, strict=True):
        assert components[2].any()
        np.testing.assert_allclose(ascent, components.sum(0) if arm == NAIVE else components[0], atol=1e-6)
