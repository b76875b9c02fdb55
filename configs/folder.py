"""Any directory of class folders, any encoder, any text file of phrases.

    jaxcbm train --config=folder --workdir=runs/mine --config.data.root=pictures \
        --config.concepts=phrases.txt --config.encoder.name=openai/clip-vit-base-patch32

`pictures/` holds one folder a class, or train/, valid/ (or val/) and test/ with one folder a class
each; where one of the last two is missing, a seeded, stratified part of train is held out for it.
`phrases.txt` has one phrase a line.
Encoding ViT-B/32 takes about 20 pictures a second on two CPU cores; training takes seconds.
"""

from ml_collections import ConfigDict

from jaxcbm.experiment.config import default_config


def get_config() -> ConfigDict:
    """Name the root and the phrases on the command line."""
    config = default_config()
    config.data.name = "folder"
    config.data.root = ""
    config.concepts = "phrases.txt"
    return config
