"""The live charts: one file each, whose name is the chart's. console/tabs.py finds them."""
