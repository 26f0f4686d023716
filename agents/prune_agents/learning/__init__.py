"""Policies: their files, how they are trained, and how they are judged."""
