"""https: whose certificates s3src and s3sink trust, and what they say of others."""

import contextlib
import pathlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from s3.conftest import BUCKET, Store
from support.launch import Finished, run


def openssl(*arguments: str | pathlib.Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass
class Authority:
    """An authority of our own, and the certificate that it gave to 127.0.0.1."""

    folder: pathlib.Path

    @property
    def bundle(self) -> pathlib.Path:
        return self.folder / "authority.pem"

    @property
    def certificate(self) -> pathlib.Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> pathlib.Path:
        return self.folder / "server.key"

    def make(self) -> "Authority":
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        own_key, asked, names = (self.folder / name for name in ("authority.key", "asked", "names"))
        openssl("req", "-x509", *new_key, "-keyout", own_key, "-out", self.bundle, "-days", "2",
                "-subj", f"/CN=authority of {self.folder.name}")
        openssl("req", *new_key, "-keyout", self.key, "-out", asked, "-subj", "/CN=rig")
        names.write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", asked, "-CA", self.bundle, "-CAkey", own_key, "-CAcreateserial",
                "-days", "2", "-extfile", names, "-out", self.certificate)
        return self


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Passes bytes on until one side ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def serve(raw: socket.socket, context: ssl.SSLContext, upstream: tuple[str, int]) -> None:
    """One connection; a handshake that fails is the client's to tell."""
    with contextlib.suppress(OSError), raw:
        with context.wrap_socket(raw, server_side=True) as client, socket.create_connection(upstream) as server:
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours")).make()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other")).make()


@pytest.fixture(scope="module")
def secure(rig: Store, authority: Authority) -> Iterator[Store]:
    """The strict server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    host, port = rig.endpoint.removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    raw, _ = listener.accept()
                    threading.Thread(target=serve, args=(raw, context, (host, int(port))), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield Store(f"https://127.0.0.1:{listener.getsockname()[1]}", rig.access_key, rig.secret_key)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def trusting(store: Store, **names: pathlib.Path) -> dict[str, str]:
    """An environment that names these authorities, and no others."""
    said = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
    env = {name: value for name, value in store.env.items() if name not in said}
    return env | {name: str(path) for name, path in names.items()}


def copy(store: Store, env: dict[str, str], key: str, file: pathlib.Path, more: str = "") -> pathlib.Path:
    """Up in parts and down again."""
    out = file.with_suffix(".back")
    run(f"gst-launch-1.0 -q filesrc location={file} ! s3sink uri=s3://{BUCKET}/{key} {store.way} {more}",
        env=env).succeeded()
    run(f"gst-launch-1.0 -q s3src uri=s3://{BUCKET}/{key} {store.way} {more} ! filesink location={out}",
        env=env).succeeded()
    return out


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "in"
    path.write_bytes(bytes(range(256)) * (20 * 4096) + b"end")
    return path


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_authority_that_the_environment_names_is_trusted(
    name: str, secure: Store, rig: Store, authority: Authority, file: pathlib.Path
) -> None:
    env = trusting(secure, **{name: authority.bundle})
    assert copy(secure, env, name, file).read_bytes() == file.read_bytes()
    assert rig.client.get_object(Bucket=BUCKET, Key=name)["Body"].read() == file.read_bytes()


def test_a_property_names_it_for_one_element(
    secure: Store, authority: Authority, other: Authority, file: pathlib.Path
) -> None:
    env = trusting(secure, AWS_CA_BUNDLE=other.bundle)
    way = f"ca-bundle={authority.bundle}"
    assert copy(secure, env, "property", file, way).read_bytes() == file.read_bytes()
    # Beside others, among them what is no certificate.
    several = file.with_name("several.pem")
    several.write_text(
        other.bundle.read_text() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        + authority.bundle.read_text()
    )
    assert copy(secure, trusting(secure, AWS_CA_BUNDLE=several), "several", file).read_bytes() == file.read_bytes()


def refused(store: Store, env: dict[str, str], more: str = "") -> list[Finished]:
    """What reading and writing say."""
    where = f"uri=s3://{BUCKET}/secret {store.way} {more}"
    return [
        run(f"gst-launch-1.0 -q s3src {where} ! fakesink", env=env).failed(),
        run(f"gst-launch-1.0 -q fakesrc num-buffers=1 sizetype=fixed sizemax=9 ! s3sink {where}", env=env).failed(),
    ]


def test_a_certificate_that_is_not_trusted_is_an_error_that_says_what_to_do(
    secure: Store, rig: Store, other: Authority
) -> None:
    for env in (trusting(secure), trusting(secure, AWS_CA_BUNDLE=other.bundle)):
        for said in refused(secure, env):
            assert "certificate" in said.output and "UnknownIssuer" in said.output, said.output
            assert "AWS_CA_BUNDLE" in said.output and f"{BUCKET}/secret" in said.output, said.output
            # Nobody's certificate gets better by being looked at again.
            assert "tried" not in said.output, said.output
    assert "secret" not in [o["Key"] for o in rig.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_the_certificate_of_another_host_is_not_accepted(secure: Store, authority: Authority) -> None:
    elsewhere = Store(secure.endpoint.replace("127.0.0.1", "localhost"), secure.access_key, secure.secret_key)
    for said in refused(elsewhere, trusting(secure, AWS_CA_BUNDLE=authority.bundle)):
        assert "localhost" in said.output and "endpoint-uri" in said.output, said.output


def test_a_bundle_that_is_not_there_is_named(secure: Store, tmp_path: pathlib.Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for path, why in ((missing, "cannot be read"), (empty, "no certificate")):
        for said in refused(secure, trusting(secure, AWS_CA_BUNDLE=path)):
            assert str(path) in said.output and why in said.output, said.output
