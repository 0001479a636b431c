"""Vision transformers and their weights."""
