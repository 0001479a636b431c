"""Checkpoints: files and the Hugging Face hub to parameters, and back."""
