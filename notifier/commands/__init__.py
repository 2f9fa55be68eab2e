"""`python -m notifier COMMAND`: what people ask of the notifier beside running it. Each has --json, and its exit codes
in docs/guide.md."""
