"""What drill-down tabs are made of: the tab itself, and its charts in HoloViews."""
