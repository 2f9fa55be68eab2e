"""The ops console: live charts, drill-down, and what they rest on."""
