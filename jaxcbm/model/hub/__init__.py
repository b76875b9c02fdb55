"""A model as a repository of the Hugging Face hub: its folder, its card, there and back."""
