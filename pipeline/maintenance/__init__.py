"""What the one writer does beside its batches: merge, expire, thin."""
