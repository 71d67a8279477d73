"""Every public function of the values' side: NumPy is torch, a batch is a loop, and no argument is changed."""

import numpy as np
import pytest
import torch

from rewardlab.transforms import advantages as a
from rewardlab.transforms import combination as c
from rewardlab.transforms import groups as g
from rewardlab.transforms import normalise as n
from rewardlab.transforms import reference as r
from rewardlab.transforms import running, saturating
from rewardlab.transforms import saturating as s

PROMPTS, SAMPLES, SIGNALS, TOKENS = 3, 5, 4, 6

# what takes the rewards (prompts, samples), others like them, references (prompts, 1), a mask and log-probabilities;
# of a batch or of one prompt
PER_PROMPT = {
    "clip_at_reference": lambda x, y, q, here, law: s.clip_at_reference(x, q),
    "concave_utility": lambda x, y, q, here, law: s.concave_utility(x, q, risk_aversion=0.3),
    "concave_utility, logarithm": lambda x, y, q, here, law: s.concave_utility(x, q, risk_aversion=1.0),
    "log_sigmoid": lambda x, y, q, here, law: s.log_sigmoid(x, q),
    "log_sigmoid, one reference": lambda x, y, q, here, law: s.log_sigmoid(x, 0.3),
    "preference_as_reward": lambda x, y, q, here, law: s.preference_as_reward(x, y[..., :3]),
    "sigmoid": lambda x, y, q, here, law: s.sigmoid(x, q),
    "gaussian_quantile_reference": lambda x, y, q, here, law: r.gaussian_quantile_reference(x, 0.7),
    "mean_reference": lambda x, y, q, here, law: r.mean_reference(x),
    "quantile_reference": lambda x, y, q, here, law: r.quantile_reference(x, 0.7),
    "quantile_reference, of a law": lambda x, y, q, here, law: r.quantile_reference(x, 0.7, log_probs=law),
    "min_max": lambda x, y, q, here, law: n.min_max(x),
    "min_max, some": lambda x, y, q, here, law: n.min_max(x, None, here),
    "quantile_reward": lambda x, y, q, here, law: n.quantile_reward(x, y),
    "rank_reward": lambda x, y, q, here, law: n.rank_reward(x),
    "rank_reward, some": lambda x, y, q, here, law: n.rank_reward(x, None, here),
    "z_score": lambda x, y, q, here, law: n.z_score(x),
    "z_score, some": lambda x, y, q, here, law: n.z_score(x, None, here, correction=1),
    "leave_one_out": lambda x, y, q, here, law: a.leave_one_out(x, None, here),
    "mean_centred": lambda x, y, q, here, law: a.mean_centred(x, None, here),
    "standardised": lambda x, y, q, here, law: a.standardised(x, None, here),
    "standardised, all": lambda x, y, q, here, law: a.standardised(x, correction=0, epsilon=0.1),
}
# what takes signals (signals, prompts, samples) and a mask; of a batch or of one prompt
PER_SAMPLE = {
    "conjunction": lambda x, here: c.conjunction(-abs(x), WEIGHTS, here),
    "median": lambda x, here: c.median(x, here),
    "minimum": lambda x, here: c.minimum(x, here),
    "product": lambda x, here: c.product(s.sigmoid(x, 0.0), here),
    "soft_minimum": lambda x, here: c.soft_minimum(x, 0.5, here),
    "weighted_mean": lambda x, here: c.weighted_mean(x, WEIGHTS, here),
    "weighted_sum": lambda x, here: c.weighted_sum(x, WEIGHTS, here),
}
PER_SAMPLE |= {
    f"{name}, {way}": function
    for name, combine in {
        "conjunction": lambda x: c.conjunction(x, WEIGHTS),
        "median": c.median,
        "minimum": c.minimum,
        "product": lambda x: c.product([s.sigmoid(part, 0.0) for part in x]),
        "soft_minimum": lambda x: c.soft_minimum(x, 0.5),
        "weighted_mean": lambda x: c.weighted_mean(x, WEIGHTS),
        "weighted_sum": lambda x: c.weighted_sum(x, WEIGHTS),
    }.items()
    for way, function in {
        "all": lambda x, here, f=combine: f(s.log_sigmoid(x, 0.0)),
        "list": lambda x, here, f=combine: f([s.log_sigmoid(part, 0.0) for part in x]),
    }.items()
}
WEIGHTS = [0.5, 2.0, 1.0, 0.1]
# what looks at the whole batch, or takes it flat: (prompts, samples), signals, mask, ids of the flat batch, token mask
WHOLE_BATCH = {
    "batch_standardised": lambda x, z, here, ids, mask: a.batch_standardised(x, None, here[0]),
    "batch_standardised, flat": lambda x, z, here, ids, mask: a.batch_standardised(flat(x), ids, flat(here[0])),
    "normalise_then_sum": lambda x, z, here, ids, mask: a.normalise_then_sum(z, None, WEIGHTS, here),
    "normalise_then_sum, flat": lambda x, z, here, ids, mask: a.normalise_then_sum(z.reshape(SIGNALS, -1), ids),
    "token_advantages": lambda x, z, here, ids, mask: a.token_advantages(flat(x), mask),
    "component_weights": lambda x, z, here, ids, mask: c.component_weights(WEIGHTS, z),
    "ungrouped": lambda x, z, here, ids, mask: g.ungrouped("rewards", x, None, here[0])[0],
    "in_dtype_of": lambda x, z, here, ids, mask: g.in_dtype_of(x, z),
    "restored": lambda x, z, here, ids, mask: g.restored(flat(x), x),
    "flat z_score": lambda x, z, here, ids, mask: n.z_score(flat(x), ids, flat(here[0])),
    "flat min_max": lambda x, z, here, ids, mask: n.min_max(flat(x), ids, flat(here[0])),
    "flat rank_reward": lambda x, z, here, ids, mask: n.rank_reward(flat(x), ids, flat(here[0])),
    "flat mean_centred": lambda x, z, here, ids, mask: a.mean_centred(flat(x), ids, flat(here[0])),
    "flat standardised": lambda x, z, here, ids, mask: a.standardised(flat(x), ids, flat(here[0])),
    "flat leave_one_out": lambda x, z, here, ids, mask: a.leave_one_out(flat(x), ids, flat(here[0])),
}
CLASSES = {"Groups", "RunningStatistics"}  # tested elsewhere


def flat(values):
    return values.reshape(-1)


def drawn(seed):
    """Rewards with ties, others, references, signals, their mask, a law, ids of the flat batch and a token mask."""
    rng = np.random.default_rng(seed)
    rewards, others = rng.normal(size=(2, PROMPTS, SAMPLES)).round(1) * 3
    law = np.log(rng.dirichlet(np.ones(SAMPLES), PROMPTS))
    here = rng.random((SIGNALS, PROMPTS, SAMPLES)) < 0.7
    here[:, 0, 0], here[:, 1] = False, True  # a sample without any signal; a prompt with all
    return {
        "rewards": rewards,
        "others": others,
        "reference": rng.normal(size=(PROMPTS, 1)),
        "law": law,
        "signals": rng.normal(size=(SIGNALS, PROMPTS, SAMPLES)) * 3,
        "here": here,
        "ids": rng.permutation(np.repeat(np.arange(PROMPTS), SAMPLES)),
        "mask": rng.random((PROMPTS * SAMPLES, TOKENS)) < 0.5,
    }


def held(library, seed=0):
    """The same in `library`; read-only where that can be."""
    parts = drawn(seed)
    if library is np.asarray:
        for part in parts.values():
            part.flags.writeable = False
    return {name: library(part) for name, part in parts.items()}


def call(table, name, parts, prompt=None):
    """The case on the batch, or on one prompt of it."""
    at = slice(None) if prompt is None else prompt
    if table is PER_PROMPT:
        chosen = (parts[part][at] for part in ("rewards", "others", "reference"))
        return table[name](*chosen, parts["here"][0][at], parts["law"][at])
    if table is PER_SAMPLE:
        return table[name](parts["signals"][:, at], parts["here"][:, at])
    return table[name](parts["rewards"], parts["signals"], parts["here"], parts["ids"], parts["mask"])


EVERY = [pytest.param(table, name, id=name) for table in (PER_PROMPT, PER_SAMPLE, WHOLE_BATCH) for name in table]


@pytest.mark.parametrize(("table", "name"), EVERY)
def test_numpy_and_torch_agree_and_nothing_is_changed(table, name):
    for seed in range(5):
        parts, tensors = held(np.asarray, seed), held(torch.tensor, seed)
        before = {part: tensor.clone() for part, tensor in tensors.items()}
        one, other = call(table, name, parts), call(table, name, tensors)
        assert isinstance(one, np.ndarray) and torch.is_tensor(other)
        assert one.dtype == np.float64 and other.dtype == torch.float64
        np.testing.assert_allclose(other.numpy(), one, rtol=1e-12, atol=1e-12)
        assert all(torch.equal(tensors[part], before[part]) for part in tensors)


@pytest.mark.parametrize(("table", "name"), [case for case in EVERY if case.values[0] is not WHOLE_BATCH])
@pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_a_batch_is_a_loop_over_its_prompts(table, name, library):
    for seed in range(5):
        parts = held(library, seed)
        together = np.asarray(call(table, name, parts))
        for prompt in range(PROMPTS):
            alone = np.asarray(call(table, name, parts, prompt))
            np.testing.assert_allclose(together[prompt], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("table", "name"), EVERY)
def test_float32_is_float64_rounded(table, name):
    parts = held(np.asarray)
    for library in (np.asarray, torch.tensor):
        rounded = {
            part: library(value.astype(np.float32) if value.dtype.kind == "f" else value)
            for part, value in parts.items()
        }
        if name == "quantile_reference, of a law":
            rounded["law"] = library(parts["law"])
        result = call(table, name, rounded)
        if name != "ungrouped":  # hands back float64
            assert str(result.dtype).endswith("float32")
        np.testing.assert_allclose(np.asarray(result), call(table, name, parts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["batch_standardised", "z_score", "min_max", "rank_reward", "mean_centred", "standardised", "leave_one_out"]
)
@pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_ids_of_any_library_will_do(name, library):
    function = getattr(a, name, None) or getattr(n, name)
    parts = held(library)
    ids = drawn(0)["ids"]
    expected = np.asarray(function(flat(parts["rewards"]), parts["ids"]))
    for other in (ids, torch.tensor(ids), ids.tolist(), [f"prompt {number}" for number in ids], ids.astype(str)):
        np.testing.assert_allclose(np.asarray(function(flat(parts["rewards"]), other)), expected, atol=1e-12)


def test_no_function_is_forgotten():
    public = {name for module in (saturating, r, n, c, g, a, running) for name in module.__all__}
    covered = {name.split(",")[0] for table in (PER_PROMPT, PER_SAMPLE, WHOLE_BATCH) for name in table}
    assert public - covered == CLASSES
    assert {name.split()[-1] for name in covered} <= public
