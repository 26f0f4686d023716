"""What a training run looks like while it goes on: as numbers, a line, a picture, or a window."""
