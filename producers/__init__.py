"""Where events come from: simulated shoppers, and real data from files."""
