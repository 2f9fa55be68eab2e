"""Own screens: boards/*.yaml and questions/*.sql beside the settings file, each board a tab of the console."""
