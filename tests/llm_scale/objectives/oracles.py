"""The formulas of the family once more, as plain loops over numbers: what the tests hold the library to."""

import math

import numpy as np


def group_members(group_ids, present):
    groups = {}
    for sample, name in enumerate(group_ids):
        if present[sample]:
            groups.setdefault(name, []).append(sample)
    return groups.values()


def deviation(values, correction):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - correction))


def sample_advantages(kind, rewards, group_ids, lengths, present, correction=1, epsilon=1e-4):
    """Advantages of whole samples; groups are assumed to have rewards that differ."""
    advantages = [0.0] * len(rewards)
    everyone = [rewards[sample] for sample in range(len(rewards)) if present[sample]]
    for members in group_members(group_ids, present):
        mine = [rewards[sample] for sample in members]
        mean = sum(mine) / len(mine)
        for sample in members:
            gain = rewards[sample] - mean
            if kind == "standardised":
                gain /= deviation(mine, correction) + epsilon
            elif kind == "batch_standardised":
                gain /= deviation(everyone, correction) + epsilon
            elif kind == "leave_one_out":
                gain = rewards[sample] - (sum(mine) - rewards[sample]) / (len(mine) - 1)
            elif kind == "length_weighted":
                total = sum(lengths[other] for other in members)
                gain = rewards[sample] - sum(lengths[other] * rewards[other] for other in members) / total
            elif kind == "nonzero_scaled":
                gain *= len(everyone) / sum(reward != 0 for reward in everyone)
            elif kind == "best_of_group":
                first, second = sorted(mine)[::-1][:2]
                lead = (first - second) / (deviation(mine, correction) + epsilon)
                gain = lead if rewards[sample] == first else 0.0
            elif kind == "raw":
                gain = rewards[sample]
            advantages[sample] = gain
    return advantages


def whitened_tokens(advantages, mask):
    """Centred and scaled over all tokens, with the unbiased variance."""
    tokens = [float(value) for value in np.asarray(advantages)[np.asarray(mask)]]
    mean = sum(tokens) / len(tokens)
    scale = math.sqrt(sum((value - mean) ** 2 for value in tokens) / (len(tokens) - 1) + 1e-8)
    return np.where(mask, (np.asarray(advantages) - mean) / scale, 0.0)


def kl(estimator, excess):
    return {"k1": -excess, "k2": excess**2 / 2, "k3": math.exp(excess) - excess - 1}[estimator[:2]]


def policy_loss(log_probs, old, advantages, mask, objective, reference=None, present=None, max_length=None):
    """Value of the loss of a whole batch."""
    samples, limit = np.shape(mask)
    total, sequences, tokens = 0.0, 0, 0
    for i in range(samples):
        if present is not None and not present[i]:
            continue
        own = [t for t in range(limit) if mask[i][t]]
        log_ratios = {t: log_probs[i][t] - old[i][t] for t in own}
        sequences, tokens = sequences + 1, tokens + len(own)
        losses = []
        for t in own:
            log_ratio = log_ratios[t]
            if objective.importance in ("sequence", "sequence_token"):
                log_ratio = sum(log_ratios.values()) / len(own)
            elif objective.importance == "sequence_product":
                log_ratio = sum(log_ratios.values())
            loss = -token_gain(log_ratio, advantages[i][t], log_probs[i][t], objective)
            if objective.kl_weight and objective.kl_place == "loss":
                term = kl(objective.kl_estimator, reference[i][t] - log_probs[i][t])
                factor = {None: 0.0, "token": log_ratios[t], "importance": log_ratio}[objective.kl_ratio]
                loss += objective.kl_weight * term * math.exp(factor)
            losses.append(loss)
        if losses:
            total += sum(losses) / (len(losses) if objective.aggregation == "sequence_mean" else 1)
    if objective.aggregation == "token_mean":
        return total / tokens
    return total / (sequences * (max_length if objective.aggregation == "constant" else 1))


def token_gain(log_ratio, advantage, log_prob, objective):
    bound = objective.log_ratio_clip or math.inf
    ratio = math.exp(max(-bound, min(bound, log_ratio)))
    if objective.surrogate == "reinforce":
        return advantage * log_prob
    if objective.surrogate == "cispo":
        return min(ratio, objective.ratio_cap) * advantage * log_prob
    clipped = max(1 - objective.clip_low, min(1 + objective.clip_high, ratio))
    gain = min(min(ratio, objective.ratio_cap or math.inf) * advantage, clipped * advantage)
    return max(gain, objective.dual_clip * advantage) if objective.dual_clip and advantage < 0 else gain
