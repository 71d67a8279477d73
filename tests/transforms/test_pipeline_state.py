"""What a pipeline has seen: learned in training only, kept between calls, carried as plain numbers."""

import json

import numpy as np
import pytest

from rewardlab.transforms import (
    Pipeline,
    RunningStandardise,
    chain,
)


class TestRunningStatistics:
    pipeline = staticmethod(lambda: Pipeline({"a": RunningStandardise(), "b": chain()}, after=RunningStandardise()))

    def test_standardises_by_all_that_was_seen(self):
        pipeline, seen = self.pipeline(), []
        for batch in ([1.0, 2.0, 4.0], [7.0, None, -3.0], [0.5, 0.5, 0.5]):
            result = pipeline({"a": batch, "b": [0.0, 0.0, 0.0]})
            seen += [value for value in batch if value is not None]
            mean, deviation = np.mean(seen), np.std(seen)
            expected = [np.nan if value is None else (value - mean) / deviation for value in batch]
            np.testing.assert_allclose(result.stages["a/running_standardise"], expected, atol=1e-6)

    def test_exactly_0_until_two_different_values_were_seen(self):
        for value in (5.0, 1e4 + 0.1):
            pipeline = Pipeline({"a": RunningStandardise()})
            for batch in ([value], [value] * 3, [value * (1 + 1e-9)]):  # rounding is no difference
                assert pipeline({"a": batch}).rewards.tolist() == [0.0] * len(batch)
            assert pipeline({"a": [value + 1]}).rewards[0] > 1
        small = Pipeline({"a": RunningStandardise(epsilon=0.0)})({"a": [1e-5, -1e-5]})
        np.testing.assert_allclose(small.rewards, [1.0, -1.0])

    def test_epsilon_is_added_to_the_deviation(self):
        found = Pipeline({"a": RunningStandardise(epsilon=1.0)})({"a": [1.0, 3.0]})
        np.testing.assert_allclose(found.rewards, [-0.5, 0.5], rtol=1e-12)

    def test_nothing_is_learned_in_evaluation(self):
        pipeline = self.pipeline()
        pipeline({"a": [1.0, 3.0], "b": [0.0, 0.0]})
        before = pipeline.state_dict()
        pipeline({"a": [100.0, 300.0], "b": [0.0, 0.0]}, update=False)
        assert pipeline.state_dict() == before

    def test_state_survives_json_and_goes_on_alike(self):
        one, other = self.pipeline(), self.pipeline()
        one({"a": [1.0, 3.0], "b": [0.0, 5.0]})
        state = json.loads(json.dumps(one.state_dict()))
        assert set(state) == {"a/running_standardise", "after/running_standardise"}
        other.load_state_dict(state)
        batch = {"a": [2.0, 9.0], "b": [1.0, 1.0]}
        np.testing.assert_array_equal(one(batch).rewards, other(batch).rewards)

    def test_state_of_another_pipeline_is_refused(self):
        with pytest.raises(ValueError, match=r"state is for stages \['x'\], expected"):
            self.pipeline().load_state_dict({"x": {}})
        state = self.pipeline().state_dict()
        with pytest.raises(ValueError, match=r"state is for stages .*'x'\], expected"):
            self.pipeline().load_state_dict(state | {"x": {}})
        state["a/running_standardise"]["count"] = -1
        with pytest.raises(ValueError, match="count is -1"):
            self.pipeline().load_state_dict(state)

    def test_two_pipelines_share_nothing(self):
        one, other = self.pipeline(), self.pipeline()
        one({"a": [1.0, 3.0], "b": [0.0, 5.0]})
        assert other.state_dict()["a/running_standardise"]["count"] == 0
