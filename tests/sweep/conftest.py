"""An emulated S3, started where a test asks for it."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """A bucket of an emulated S3 on this machine, found through the usual variables."""
    pytest.importorskip("s3fs", reason="needs s3fs")
    server_module = pytest.importorskip(
        "moto.moto_server.threaded_moto_server", reason="needs moto and flask"
    )
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    import fsspec

    fsspec.filesystem("s3").mkdir("results-bucket")
    yield "results-bucket"
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    server.stop()
