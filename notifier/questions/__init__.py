"""Rules that ask: their questions, verdicts on the answers, and the incidents that these begin and end."""
