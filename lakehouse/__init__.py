"""The contract of topics and tables, and the way to the data. Imports no other part."""
