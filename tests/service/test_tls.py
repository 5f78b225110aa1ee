"""HTTPS by settings: a certificate and its key, both or none."""

import shutil
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from service.settings import InvalidSettings, load_settings
from tests.service.server_process import READY_S, ServerProcess

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the test's certificate")


def made(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "1",
         "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate), *options],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@openssl
def test_what_https_cannot_be_served_with_stops_the_start(tmp_path: Path) -> None:
    (certificate, key), (_, other) = made(tmp_path, "mine", "-nodes"), made(tmp_path, "other", "-nodes")
    _, locked = made(tmp_path, "locked", "-passout", "pass:secret")
    assert load_settings(tls_certificate=certificate, tls_key=key).tls_key == key
    for one, its_key in ((key, key), (certificate, certificate), (certificate, other), (certificate, locked)):
        with pytest.raises(InvalidSettings, match="belong together"):
            load_settings(tls_certificate=one, tls_key=its_key)


@openssl
@pytest.mark.slow
def test_a_certificate_and_its_key_make_it_https(tmp_path: Path) -> None:
    certificate, key = made(tmp_path, "mine", "-nodes")
    server = ServerProcess(tmp_path, tls_certificate=certificate, tls_key=key)
    try:
        url = server.url.replace("http://", "https://")
        trust = ssl.create_default_context(cafile=str(certificate))
        deadline = time.monotonic() + READY_S
        while True:
            try:
                assert httpx.get(f"{url}/livez", verify=trust, timeout=READY_S).status_code == 200
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline, server.log.read_text()
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/livez")
    finally:
        server.kill()


def test_one_without_the_other_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    with pytest.raises(InvalidSettings, match="go together"):
        load_settings(tls_certificate=tmp_path / "cert.pem")
    with pytest.raises(InvalidSettings, match="no file"):
        load_settings(tls_certificate=tmp_path / "cert.pem", tls_key=tmp_path / "none.pem")
