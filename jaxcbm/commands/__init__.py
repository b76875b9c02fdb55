"""One file a command: its flags and its run. What a run does stands below, for Python as well."""
