"""Who is told what, when, and why not: config/routes.yaml, read into a tree of routes, and decided without I/O."""
