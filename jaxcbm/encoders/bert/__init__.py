"""BERT and RoBERTa text towers."""
