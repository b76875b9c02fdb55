import pytest
from served import small_model

from jaxcbm.model.model import Model


@pytest.fixture(scope="session")
def model(picture_folder, tiny_encoder_folder) -> Model:
    """Fitted on `picture_folder`; it is the same for all tests of a worker."""
    return small_model(picture_folder, tiny_encoder_folder)
