"""What the experiments compute of a batch of images, and what they say of it."""
