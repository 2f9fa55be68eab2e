"""What would have been told of past alerts: the planning of the daemon over a ledger in memory, its clock the rows'."""
