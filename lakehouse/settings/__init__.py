"""Settings: the base, and what all parts share. Each part adds its own class, in a module named settings."""
