"""Pictures of results: one module per figure, all kept the same way (`style`)."""
