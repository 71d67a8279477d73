"""Every way a batch can be wrong: a mask or an error, as documented, with a message that says what to do."""

import warnings

import numpy as np
import pytest
import torch

from rewardlab import transforms as t
from rewardlab.transforms import (
    Centre,
    Conjunction,
    Fixed,
    Given,
    GroupQuantile,
    LogSigmoid,
    MeanCentred,
    Pipeline,
    chain,
)

pytestmark = pytest.mark.usefixtures("without_type_checks")

plain = Pipeline({"a": chain(), "b": chain()})
grouped = Pipeline({"a": chain(), "b": chain()}, advantage=MeanCentred())
ok = np.array([1.0, 2.0])
NAN, INF = float("nan"), float("inf")

ERRORS = {
    # name: (call, kind of error, what the message says)
    "infinite": (
        lambda: plain({"a": [1.0, INF], "b": ok}),
        ValueError, "signal 'a', sample 1 is inf, expected a finite"),
    "minus infinite": (lambda: plain({"a": ok, "b": [-INF, NAN]}), ValueError, "signal 'b', sample 0 is -inf"),
    "both infinities": (lambda: plain({"a": [INF, -INF], "b": ok}), ValueError, "signal 'a', sample 0 is inf"),
    "missing signal": (lambda: plain({"a": ok}), ValueError, r"missing \['b'\], expected \['a', 'b'\]"),
    "unknown signal": (lambda: plain({"a": ok, "b": ok, "c": ok}), ValueError, r"unknown \['c'\]"),
    "misspelt signal": (lambda: plain({"a": ok, "B": ok}), ValueError, r"missing \['b'\] and unknown \['B'\]"),
    "wrong length": (lambda: plain({"a": ok, "b": [1.0]}), ValueError, "signal 'b' has 1 values for 2 samples"),
    "two dimensions": (lambda: plain({"a": ok[None], "b": ok}), ValueError, r"signal 'a' has shape \(1, 2\)"),
    "one number": (lambda: plain({"a": 1.0, "b": 2.0}), TypeError, "signal 'a': expected an array or a sequence"),
    "wrong length, the longer": (
        lambda: plain({"a": ok, "b": [1.0, 2.0, 3.0]}),
        ValueError, "signal 'b' has 3 values for 2 samples"),
    "string reward": (lambda: plain({"a": [1.0, "2"], "b": ok}), TypeError, "signal 'a', sample 1: .*got '2' .str"),
    "string": (
        lambda: plain({"a": "12", "b": ok}),
        TypeError, "signal 'a': expected an array or a sequence of numbers"),
    "bytes": (lambda: plain({"a": b"12", "b": ok}), TypeError, "signal 'a': expected an array or a sequence"),
    "number too large for a float": (
        lambda: plain({"a": [1, 10**400], "b": ok}),
        ValueError, "signal 'a', sample 1 is a whole number too large for a float"),
    "array of strings": (lambda: plain({"a": np.array(["1", "2"]), "b": ok}), TypeError, "signal 'a' has dtype <U1"),
    "array of objects": (
        lambda: plain({"a": np.array([1.0, None]), "b": ok}),
        TypeError, "signal 'a' has dtype object"),
    "complex": (lambda: plain({"a": np.array([1.0, 1j]), "b": ok}), TypeError, "signal 'a' has dtype complex128"),
    "complex number": (
        lambda: plain({"a": [1.0, np.complex128(1j)], "b": ok}),
        TypeError, "signal 'a', sample 1: expected a number"),
    "overflow in a stage": (
        lambda: Pipeline({"a": t.Scale(10.0)})({"a": np.array([1.0, 6e4], np.float16)}),
        ValueError, r"signals\[0, 1\] is inf"),
    "overflow after the combination": (
        lambda: Pipeline({"a": chain()}, after=t.Scale(10.0))({"a": np.array([1.0, 6e4], np.float16)}),
        ValueError, r"rewards after 'after'\[1\] is inf"),
    "nested list": (
        lambda: plain({"a": [[1.0], [2.0]], "b": ok}),
        TypeError, "signal 'a', sample 0: expected a number"),
    "two libraries": (lambda: plain({"a": ok, "b": torch.tensor(ok)}), TypeError, "signal 'b' is a Tensor, the others"),
    "not a mapping": (lambda: plain([ok, ok]), TypeError, "signals: expected a mapping from name to values, got list"),
    "empty batch": (lambda: plain({"a": [], "b": []}), ValueError, "the batch holds no samples"),
    "no groups": (
        lambda: grouped({"a": ok, "b": ok}),
        ValueError, "group_ids: expected one id a sample, got none; needed by advantage/mean_centred"),
    "too few ids": (
        lambda: grouped({"a": ok, "b": ok}, group_ids=[0]),
        ValueError, "group_ids has 1 values for 2 samples"),
    "ids of text": (lambda: grouped({"a": ok, "b": ok}, group_ids="ab"), TypeError, "group_ids: expected a sequence"),
    "fractional ids": (
        lambda: grouped({"a": ok, "b": ok}, group_ids=ok),
        TypeError, "group_ids: expected whole numbers or text"),
    "reference not given": (
        lambda: Pipeline({"a": Centre(Given())})({"a": ok}),
        ValueError, r"references: expected one for each of \['a'\], got \[\]"),
    "reference not needed": (
        lambda: plain({"a": ok, "b": ok}, references={"a": ok}),
        ValueError, r"references: expected one for each of \[\]"),
    "reference missing for a sample": (
        lambda: Pipeline({"a": Centre(Given())})({"a": ok}, references={"a": [1.0, None]}),
        ValueError, "reference of 'a', sample 1 is nan, expected .* needs 'a' itself to be None"),
    "reference too short": (
        lambda: Pipeline({"a": Centre(Given())})({"a": ok}, references={"a": [1.0]}),
        ValueError, "reference of 'a' has 1 values for 2"),
    "reference too long": (
        lambda: Pipeline({"a": Centre(Given())})({"a": ok}, references={"a": [1.0, 2.0, 3.0]}),
        ValueError, "reference of 'a' has 3 values for 2"),
    "infinite reference": (
        lambda: Pipeline({"a": Centre(Given())})({"a": ok}, references={"a": [1.0, INF]}),
        ValueError, "reference of 'a', sample 1 is inf"),
    "reference of text": (
        lambda: Pipeline({"a": Centre(Given())})({"a": ok}, references={"a": ["1", "2"]}),
        TypeError, "sample 0: expected a number"),
    "conjunction of raw rewards": (
        lambda: Pipeline({"a": LogSigmoid(), "b": chain()}, combine=Conjunction())({"a": ok, "b": ok}),
        ValueError, "signal 'b': conjunction: expected log-prob"),
    "product of raw rewards": (
        lambda: Pipeline({"a": chain(), "b": chain()}, combine=t.Product())({"a": ok, "b": ok}),
        ValueError, r"expected signals in \[0, 1\]"),
    # making one
    "combine by name": (
        lambda: Pipeline({"a": chain()}, combine="sum"), TypeError, "combine: expected an object such as Conj"),
    "combine by its class": (lambda: Pipeline({"a": chain()}, combine=Conjunction), TypeError, "combine: expected an"),
    "combine by the function": (
        lambda: Pipeline({"a": chain()}, combine=t.conjunction), TypeError, "combine: expected an object"),
    "advantage by name": (lambda: Pipeline({"a": chain()}, advantage="grpo"), TypeError, "advantage: expected an"),
    "advantage by its class": (
        lambda: Pipeline({"a": chain()}, advantage=MeanCentred), TypeError, "advantage: expected an object such as"),
    "a number as reference": (lambda: Centre(0.5), TypeError, r"reference: .*write Centre\(Fixed\(0.5\)\)"),
    "a class as reference": (lambda: Centre(Fixed), TypeError, "reference: expected one such as Fixed"),
    "an id missing": (
        lambda: grouped({"a": ok, "b": ok}, group_ids=["x", None]), ValueError, r"group_ids\[1\] is None, expected"),
    "no signals": (lambda: Pipeline({}), ValueError, "expected a mapping from names to chains, with one at least"),
    "chains in a list": (lambda: Pipeline([chain()]), ValueError, "expected a mapping from names to chains"),
    "name with a slash": (lambda: Pipeline({"a/b": chain()}), ValueError, "signal 'a/b': expected a name without '/'"),
    "name of the report's own": (lambda: Pipeline({"after": chain()}), ValueError, "signal 'after': the report uses"),
    "name of the combination": (lambda: Pipeline({"combined": chain()}), ValueError, "signal 'combined': the report"),
    "name of the advantages": (lambda: Pipeline({"advantage": chain()}), ValueError, "signal 'advantage': the report"),
    "name without a letter": (lambda: Pipeline({"": chain()}), ValueError, "signal '': expected a name"),
    "name that is no text": (lambda: Pipeline({1: chain()}), ValueError, "signal 1: expected a name"),
    "a function as a stage": (lambda: Pipeline({"a": np.tanh}), TypeError, "expected stages such as LogSigmoid"),
    "weights of others": (
        lambda: Pipeline({"a": chain()}, combine=t.WeightedSum({"x": 1.0})),
        ValueError, r"weights of 'weighted_sum' are for \['x'\], expected \['a'\]"),
    "weights of others in the advantage": (
        lambda: Pipeline({"a": chain()}, advantage=t.NormaliseThenSum({"x": 1.0})),
        ValueError, r"weights of 'normalise_then_sum' are for \['x'\], expected \['a'\]"),
    "a weight of the advantage that is none": (
        lambda: t.NormaliseThenSum({"a": INF}),
        ValueError, "weights.'a'. is inf"),
    "a negative weight of a mean": (lambda: t.WeightedMean({"a": -1.0}), ValueError, "weights.'a'. is -1.0"),
    "no name": (lambda: chain(abs), TypeError, "expected stages such as LogSigmoid"),
    "name that is a number": (
        lambda: chain(type("Odd", (), {"name": 3, "__call__": lambda *_: 0})()),
        TypeError, "expected stages such as LogSigmoid"),
    "no call": (
        lambda: chain(type("Odd", (), {"name": "odd"})()),
        TypeError, "expected stages such as LogSigmoid"),
    "weights by order": (
        lambda: t.WeightedSum([1.0]),
        TypeError, "weights: expected a mapping from signal to number, got list"),
    "a weight that is none": (lambda: t.WeightedSum({"a": NAN}), ValueError, "weights.'a'. is nan"),
    "a negative weight": (lambda: t.Conjunction({"a": -1.0}), ValueError, "weights.'a'. is -1.0"),
    "a given reference after": (
        lambda: Pipeline({"a": chain()}, after=Centre(Given())),
        ValueError, "after: expected no Centre"),
    "level": (lambda: GroupQuantile(1.5), ValueError, "level is 1.5"),
    "lowest level of a normal law": (lambda: GroupQuantile(0.0, "gaussian"), ValueError, "level is 0.0, expected"),
    "level of a normal law": (lambda: GroupQuantile(1.0, "gaussian"), ValueError, "a normal law has no largest value"),
    "method": (lambda: GroupQuantile(0.5, "normal"), ValueError, "method is 'normal', expected one of 'empirical'"),
    "factor": (lambda: t.Scale(0.0), ValueError, "factor is 0.0"),
    "risk aversion": (lambda: t.ConcaveUtility(2.0), ValueError, "risk_aversion is 2.0"),
    "fixed reference": (lambda: Fixed(None), TypeError, "value: expected a number, got NoneType"),
    "limit": (lambda: t.ClipAbove(NAN), ValueError, "limit is nan"),
    "correction of a z-score": (lambda: t.ZScore(correction=2), ValueError, "correction is 2, expected one of 0, 1"),
    "epsilon of running statistics": (lambda: t.RunningStandardise(-1e-9), ValueError, "epsilon is -1e-09"),
    "temperature": (lambda: t.SoftMinimum(0.0), ValueError, "temperature is 0.0"),
    "correction": (lambda: t.Standardised(correction=2), ValueError, "correction is 2, expected one of 0, 1"),
    "epsilon": (lambda: t.NormaliseThenSum(epsilon=-1.0), ValueError, "epsilon is -1.0"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    call, kind, message = ERRORS[name]
    with np.errstate(over="ignore"), pytest.raises(kind, match=message):
        call()


KINDS = [t.MeanCentred(), t.Standardised(), t.LeaveOneOut(), t.BatchStandardised(), t.NormaliseThenSum()]
MASKS = {
    # name: (values of the only signal, group ids, rewards, samples whose advantage is exactly 0)
    "None": ([1.0, None, 3.0], [0, 0, 0], [1.0, NAN, 3.0], [1]),
    "NaN": (np.array([1.0, NAN, 3.0]), [0, 0, 0], [1.0, NAN, 3.0], [1]),
    "a group with nothing present": ([None, None, 3.0, 4.0], [0, 0, 1, 1], [NAN, NAN, 3.0, 4.0], [0, 1]),
    "nothing present at all": ([None, None], [0, 0], [NAN, NAN], [0, 1]),
    "group of one": ([5.0, 1.0, 2.0], [9, 1, 1], [5.0, 1.0, 2.0], [0]),
    "one of the group present": ([5.0, None], [0, 0], [5.0, NAN], [0, 1]),
    "constant group": ([0.35] * 7 + [1.0, 2.0], [0] * 7 + [1, 1], [0.35] * 7 + [1.0, 2.0], range(7)),
    "constant in single precision": (np.full(7, 0.35, np.float32), [0] * 7, np.full(7, 0.35, np.float32), range(7)),
    "constant but for rounding": ([0.1 + 0.2, 0.3], [0, 0], [0.1 + 0.2, 0.3], [0, 1]),
}


STAGES = {
    "group_mean": lambda: Centre(t.GroupMean()),
    "group_quantile": lambda: Centre(GroupQuantile(0.85)),
    "gaussian": lambda: Centre(GroupQuantile(0.85, "gaussian")),
    "z_score": t.ZScore,
    "min_max": t.MinMax,
    "rank": t.Rank,
    "running_standardise": t.RunningStandardise,
    "log_sigmoid": LogSigmoid,
}
FLAT = {"group_mean": 0.0, "group_quantile": 0.0, "z_score": 0.0, "min_max": 0.5}  # where all are alike


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", MASKS)
def test_mask_and_a_stage(name, stage, library):
    values, ids, rewards, zero = MASKS[name]
    if library is torch.tensor:
        values = torch.tensor([NAN if value is None else value for value in values])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = np.asarray(Pipeline({"a": STAGES[stage]()})({"a": values}, group_ids=ids).rewards)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rewards))
    assert not np.isinf(found).any()
    if stage in FLAT:
        alike = [place for place in zero if not np.isnan(rewards[place])]
        np.testing.assert_allclose(found[alike], FLAT[stage], atol=1e-7)


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", MASKS)
def test_mask(name, kind, library):
    values, ids, rewards, zero = MASKS[name]
    if library is torch.tensor:
        values = torch.tensor([NAN if value is None else value for value in values])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no division by zero on the way
        result = Pipeline({"a": chain()}, advantage=kind)({"a": values}, group_ids=ids)
    np.testing.assert_allclose(np.asarray(result.rewards), rewards, rtol=1e-6)
    advantages = np.asarray(result.advantages)
    assert np.isfinite(advantages).all()
    assert (advantages[list(zero)] == 0).all()
    others = [place for place in range(len(advantages)) if place not in zero]
    assert all(advantages[place] != 0 for place in others)
