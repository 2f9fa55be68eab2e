"""Stand-in for Slack and a mail server: takes what the notifier sends, shows it, and breaks on demand."""
