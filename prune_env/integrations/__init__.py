"""A sampler's agent in the training loops of others: Lightning, Hugging Face's Trainer."""
