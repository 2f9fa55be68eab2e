"""What the small page (console/lite.py) is made of."""
