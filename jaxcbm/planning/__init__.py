"""What a job takes on a machine that is not here: compiled programs, counted and weighed."""
