"""Objectives of policy-gradient training of language models: from rewards to advantages to a loss."""
