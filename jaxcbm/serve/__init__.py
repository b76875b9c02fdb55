"""A finished model over HTTP: requests in, batches through the device, answers out."""
