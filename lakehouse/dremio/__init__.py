"""The one way to the data: a client of Dremio's Arrow Flight port, or of the gateway in its place."""
