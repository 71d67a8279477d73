r"""Experiments on NetHack: what policies learn from the game's reward, from its messages, and from both.

`small` is what an hour or two of one core can show. For effects that need more, every experiment has `--scale gpu`, of
2e7 steps and 5 seeds (two or three hours of one core each; the games stay on the processor, so give it `--workers`):

    python -m environments.nethack.experiments nethack_curves --scale gpu --workers 16

and single runs of any length, such as a tenth of the published 2e9 steps, are trained with

    python -m environments.nethack.train --steps 200000000 --game.episode-steps 5000 --policy.algorithm recurrent_ppo \
        --intrinsic.kind classification --intrinsic.network bytes --intrinsic.coefficient 0.4
"""
