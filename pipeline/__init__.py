"""What the two engines share between a log and the tables."""
