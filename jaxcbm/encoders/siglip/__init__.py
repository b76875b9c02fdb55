"""SigLIP and SigLIP 2: pictures pooled by attention, a bias in the scores."""
