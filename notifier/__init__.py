"""Tells people when something breaks: cursor -> policy -> ledger -> sender -> channels."""
