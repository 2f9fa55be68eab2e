"""From rows of the table alerts to deliveries: which are new, and what becomes of each."""
