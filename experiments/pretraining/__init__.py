"""How the built-in backbone is made: batches of drawn scenes, an objective, a resumable loop."""
