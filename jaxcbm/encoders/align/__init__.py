"""ALIGN: an EfficientNet beside a BERT."""
