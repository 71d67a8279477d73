"""What verl 0.9.1 and OpenRLHF 0.11.2 call an adapter with, written down from their source.

The default tests need neither package: they call the adapters as recorded here. `verl_package.py` and
`openrlhf_package.py` beside this file run the real packages and check that what is recorded is what they do.
"""

# verl/experimental/reward_loop/reward_manager/naive.py, NaiveRewardManager.run_single
VERL_REWARD_KEYWORDS = ("data_source", "solution_str", "ground_truth", "extra_info")
VERL_EXTRA_INFO = {"num_turns": 2, "rollout_reward_scores": {}}  # what it adds to the data set's extra_info
# verl/trainer/ppo/ray_trainer.py, compute_advantage, for an estimator that is not gae, grpo or gdpo
VERL_ESTIMATOR_KEYWORDS = ("token_level_rewards", "response_mask", "config", "index")
VERL_GDPO_KEYWORDS = (*VERL_ESTIMATOR_KEYWORDS, "non_tensor_batch", "batch")

# openrlhf/utils/agent.py, SingleTurnAgentExecutor: reward_func is called by position, the service gets this JSON
OPENRLHF_REQUEST = {"query": ["2 + 2 = 4</s>"], "prompts": ["2 + 2 ="], "labels": ["4"]}
OPENRLHF_ANSWER_KEYS = ("rewards", "scores", "extra_logs")
