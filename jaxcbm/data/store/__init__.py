"""The feature store: images are encoded once, into shards that say that they are whole."""
