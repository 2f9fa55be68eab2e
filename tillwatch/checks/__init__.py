"""`tillwatch check`: all of config/ at once, each mistake in one sentence."""
