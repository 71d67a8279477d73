"""What an answer is worth: signals, their combination, and rewards of steps, all named in one TOML file."""
