"""Where images come from: built-in and real datasets, folders, and the feature store."""
