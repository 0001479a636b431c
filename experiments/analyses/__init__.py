"""What the experiments compute from a batch of images, and how they report it."""
