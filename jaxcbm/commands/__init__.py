"""One module a command: reads a config, calls the library, writes a work directory."""
