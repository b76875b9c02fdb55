"""Class names of datasets whose own metadata has none until they are prepared."""

# In the order of the labels.
CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
