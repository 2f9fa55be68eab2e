"""What `tillwatch check` looks at beside the loaders of the files: what only several of them together tell."""
