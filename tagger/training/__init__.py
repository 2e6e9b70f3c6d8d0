"""Training: examples in, a network's weights and what they are worth out. Knows no SQL.

Importing this package does not import torch; :mod:`tagger.training.fitting`, ``augment`` and ``features`` do.
"""
