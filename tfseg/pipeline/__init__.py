"""From cached volumes to batches of augmented patches."""
