"""Tasks for a language model: what is asked, and how an answer is checked."""
