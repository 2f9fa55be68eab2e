"""Which minutes are closed, watched and readable: what rules may judge."""
