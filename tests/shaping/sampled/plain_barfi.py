"""BARFI once more, slowly: loops, double backward, `torch.optim`. What the trainer must reproduce number by number."""

import numpy as np
import torch


def plain_barfi(env, policy, blend, settings, auxiliary, seed, episodes, horizon):
    """Trains policy and blend in place; returns the cosines of the Neumann vectors to the plain gradients."""
    s = settings
    kinds = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    by_policy = kinds[s.optimiser](policy.parameters(), lr=s.policy_learning_rate, maximize=True)
    by_blend = kinds[s.optimiser](blend.reward_parameters(), lr=s.blend_learning_rate, maximize=True)
    by_discount = kinds[s.optimiser]([blend.discount_logit], lr=s.discount_learning_rate, maximize=True)
    acting, drawing = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(2))
    stored, switched, running, cosines = [], False, {"inner": None, "outer": None}, []

    def sums(rewards, discount):
        later, found = torch.zeros((), dtype=torch.float64), []
        for reward in reversed(rewards):
            later = reward + discount * later
            found.append(later)
        return found[::-1]

    def objective(batch, reward, discount, entropy_weight, baseline, keep):
        total, entropies, steps, mean = 0.0, 0.0, 0, 0.0
        before = running[baseline] if s.baseline == "running" else None
        for x, actions, primary, aux in batch:
            returns = sums([reward(*step) for step in zip(x, primary, aux, strict=True)], discount)
            for row, action, value in zip(x, actions, returns, strict=True):
                log_prob, entropy = policy(row[None], action[None])
                total = total + log_prob[0] * (value - (before or 0.0)) / (horizon + 1) / len(batch)
                entropies, steps = entropies + entropy[0], steps + 1
                mean += float(value.detach()) / (horizon + 1) / len(batch)
        if s.baseline == "running":
            running[baseline] = mean if before is None else keep * before + (1 - keep) * mean
        return total + entropy_weight * entropies / steps if entropy_weight else total

    def draw(count, excluded):
        kept = stored[-s.buffer :]
        available = len(kept) - excluded
        return [kept[available - 1 - back] for back in drawing.integers(available, size=min(count, available))]

    def climb(batch, reward, discount):
        by_policy.zero_grad()
        objective(batch, reward, discount, s.entropy_weight, "inner", 0.9).backward()
        by_policy.step()

    def blended(x, primary, aux):
        return blend(x, primary, s.auxiliary_scale * aux)

    for number in range(1, episodes + 1):
        steps = _episode(env, policy, auxiliary, seed, number - 1, acting)
        stored.append(steps)
        enough = number > s.first_steps + s.inner_steps
        if number % s.update_every or not (enough or s.warm_up):
            continue
        size = min(s.batch_size, len(stored), s.buffer)
        if switched:
            parameters = list(policy.parameters())
            plain = torch.autograd.grad(
                objective(
                    stored[-s.buffer :][-s.update_every - 1 :], lambda x, p, a: p, s.discount, 0.0, "outer", 0.99
                ),
                parameters,
            )
            older = draw(s.curvature_batch * size, s.update_every)
            value = objective(older, blended, blend.discount(), s.entropy_weight, "inner", 0.9)
            inner = torch.autograd.grad(value, parameters, create_graph=True)
            power, total = [part.clone() for part in plain], [part.clone() for part in plain]
            for _ in range(s.loops):
                curved = torch.autograd.grad(inner, parameters, grad_outputs=power, retain_graph=True)
                power = [part + s.step * image for part, image in zip(power, curved, strict=True)]
                total = [part + image for part, image in zip(total, power, strict=True)]
            flat = [torch.cat([part.reshape(-1) for part in parts]) for parts in (plain, total)]
            cosines.append(float(torch.cosine_similarity(*flat, dim=0)))
            leaves = [*blend.reward_parameters(), blend.discount_logit]
            found = torch.autograd.grad(inner, leaves, grad_outputs=[s.step * part for part in total])
            penalty = s.reward_penalty * sum(part.norm() for part in blend.reward_parameters())
            penalty = penalty + s.discount_penalty * blend.discount()
            less = torch.autograd.grad(penalty, leaves, allow_unused=True)
            for leaf, gradient, pull in zip(leaves, found, less, strict=True):
                leaf.grad = gradient - (0.0 if pull is None else pull)
            by_blend.step()
            by_discount.step()
            for leaf in leaves:
                leaf.grad = None
        elif s.warm_up:
            climb(stored[-2:], lambda x, p, a: p + s.auxiliary_scale * a.sum(), blend.discount().detach())
        if enough:
            more = 0 if switched else s.first_steps
            for _ in range(s.update_every * s.inner_steps + more if switched or s.catch_up else 0):
                with torch.no_grad():
                    discount = blend.discount()
                climb(draw(size, 0), lambda *step: blended(*step).detach(), discount)
            switched = True
    return np.array(cosines)


def _episode(env, policy, auxiliary, seed, number, acting):
    observation, _ = env.reset(seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
    seen, actions, primary, aux, over = [], [], [], [], False
    while not over:
        seen.append(observation)
        actions.append(policy.act(observation, acting))
        given = np.clip(actions[-1], -1, 1).astype(np.float32) if env.continuous else actions[-1] + env.first
        observation, reward, terminated, truncated, info = env.step(given)
        primary.append(reward)
        aux.append([info["auxiliary"][name] for name in auxiliary])
        over = terminated or truncated
    x = policy.features(torch.tensor(np.array(seen)))
    return x, torch.tensor(np.array(actions)), torch.tensor(primary, dtype=torch.float64), torch.tensor(np.array(aux))
