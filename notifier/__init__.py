"""Tells people on Slack and by email when something breaks: cursor -> policy -> ledger -> pipeline -> channels."""
