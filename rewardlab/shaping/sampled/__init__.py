"""BARFI and its relatives on sampled episodes: torch policies, blends that learn, any gymnasium environment."""
