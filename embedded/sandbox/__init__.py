"""Stand-in for Slack, a mail server, PagerDuty and webhooks: shows what arrived, breaks on demand."""
