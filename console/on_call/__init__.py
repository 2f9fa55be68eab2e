"""Who has an incident, and what people do about it: the notifier's side of what the console shows."""
