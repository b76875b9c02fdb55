import pytest
from served import served, small_model

from jaxcbm.model.model import Model


@pytest.fixture(scope="session")
def model(picture_folder, tiny_encoder_folder) -> Model:
    """Fitted on `picture_folder`; it is the same for all tests of a worker."""
    return small_model(picture_folder, tiny_encoder_folder)


@pytest.fixture
def service(model):
    with served(model, body_bytes=100_000, pictures=4, queue=16, per_client=4) as found:
        yield found
