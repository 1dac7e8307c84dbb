"""A store and a Milvus server that show each other certificates."""

import shutil
import subprocess
from concurrent import futures

import pytest

from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.milvus.lite import _import_engine
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests.vector_stores.contract import SCHEMA, entity, unit

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """ca.pem, and a certificate and a key each for server, client and a stranger whom no authority knows."""
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for name in ("ca", "stranger"):
        openssl(
            *("req", "-x509", *curve, "-subj", f"/CN={name}"),
            *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
        )
    for name in ("milvus.example", "client"):
        openssl(
            *("req", "-x509", *curve, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key")),
            *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
        )
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["server alone", "both"])
def server(request, folder, tmp_path_factory):
    """The address of a server with a certificate; with ``both`` it asks for its clients' too."""
    import grpc

    engine = _import_engine()
    database = engine.open_database(str(tmp_path_factory.mktemp("milvus")))
    server = grpc.server(futures.ThreadPoolExecutor(2))
    engine.add_to_server(engine.servicer_of(database), server)
    credentials = grpc.ssl_server_credentials(
        [((folder / "milvus.example.key").read_bytes(), (folder / "milvus.example.pem").read_bytes())],
        root_certificates=(folder / "ca.pem").read_bytes() if request.param else None,
        require_client_auth=request.param,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"https://127.0.0.1:{port}", request.param
    server.stop(None).wait()
    database.close()


def store_of(uri, folder, client="", authority="ca"):
    own = {
        "client_certificate": str(folder / f"{client}.pem"),
        "client_key": str(folder / f"{client}.key"),
    }
    return MilvusStore(
        uri=uri,
        ca_certificate=str(folder / f"{authority}.pem"),
        server_name="milvus.example",
        timeout_seconds=5,
        **(own if client else {}),
    )


def test_whoever_shows_the_right_certificate_may_write_and_read(server, folder):
    uri, asks = server
    store = store_of(uri, folder, client="client" if asks else "")
    assert store.check() == []
    store.ensure_collection("shoes", SCHEMA)
    store.upsert("shoes", [entity(1)])
    assert len(store.search("shoes", unit(1), limit=3)) == 1
    store.close()


@pytest.mark.parametrize("client", ["", "stranger"])
def test_whoever_does_not_is_refused(server, folder, client):
    uri, asks = server
    if not asks:
        pytest.skip("this server asks for no certificate")
    with pytest.raises(VectorStoreError):
        store_of(uri, folder, client=client).collections()


def test_a_server_that_another_authority_vouches_for_is_not_believed(server, folder):
    uri, asks = server
    with pytest.raises(VectorStoreError):
        store_of(uri, folder, client="client" if asks else "", authority="stranger").collections()
