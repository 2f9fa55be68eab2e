"""One batch, written once: from what a log gave to tables that move together."""
