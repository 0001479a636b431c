"""How backbones are trained: batches, objectives, and a loop that can be resumed."""
