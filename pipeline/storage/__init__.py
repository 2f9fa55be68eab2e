"""Where tables lie: objects, files, the Nessie repository, and what keeps both small."""
