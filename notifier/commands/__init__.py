"""`python -m notifier COMMAND`: what people ask of the notifier beside running it.

Each has --json, and exits 0 where it is done or all is well, 1 where the answer is no or something was found, 2 for a
wrong question, file or setting, 3 where the notifier or the data cannot be reached.
"""
