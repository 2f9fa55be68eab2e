"""What each tab says: pure functions from answers to the parts of a message, and the HoloViews drill-down."""
