"""What the notifier remembers, in one SQLite file: alerts, incidents, threads, deliveries, people's doings."""
