"""`tillwatch init`: a config/ for a shop, from a sample of what it sends."""
