"""What every fault happens to: the folders that undisturbed runs of all works have left."""

from collections.abc import Iterator

import pytest
from loopback import loopback
from works import Undisturbed, make_inputs


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, picture_folder, tiny_encoder_folder) -> Iterator[Undisturbed]:
    root = tmp_path_factory.mktemp("whole")
    make_inputs(root, picture_folder, tiny_encoder_folder)
    with loopback() as server:
        yield Undisturbed(root, server.url)
