"""Labels for messages: who gives them, in what order they are asked for, and when they arrive."""
