"""One file a promise of docs/performance.md; each prints its figures and writes bench/results/NAME.json."""
