"""Language models to train: SmolLM2 from a package, any Hugging Face model, and tiny ones made here."""
