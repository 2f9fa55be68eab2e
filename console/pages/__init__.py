"""The tabs: one file each, whose name is the tab's. console/tabs.py finds them."""
