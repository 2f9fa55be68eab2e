"""One file a promise of the README's performance table; each prints its figures and writes bench/results/NAME.json."""
