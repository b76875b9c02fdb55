"""AltCLIP: CLIP's image tower beside a multilingual RoBERTa."""
