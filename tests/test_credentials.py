"""Secrets: from the environment, else a file, else the keyring; never from the configuration."""

import pytest

from monitor.config import ConfigError
from monitor.credentials import credential


def test_the_environment_goes_first(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("from a file\n")
    assert credential("influxdb", tmp_path / "token") == "from a file"
    monkeypatch.setenv("FASCIWATCH_INFLUXDB_TOKEN", "from the environment ")
    assert credential("influxdb", tmp_path / "token") == "from the environment"


def test_a_file_that_cannot_be_read_is_a_wrong_configuration(tmp_path, monkeypatch):
    monkeypatch.delenv("FASCIWATCH_INFLUXDB_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"influxdb.token_file = .*: No such file"):
        credential("influxdb", tmp_path / "none")


def test_the_keyring_of_the_desktop():
    keyring = pytest.importorskip("keyring", reason="the extra keyring is not installed")

    class Ring(keyring.backend.KeyringBackend):
        priority = 1

        def set_password(self, service, username, password):
            raise NotImplementedError

        def get_password(self, service, username):
            return "from the ring" if (service, username) == ("fasciwatch", "influxdb") else None

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        assert credential("influxdb", None) == "from the ring"
        assert credential("mqtt", None) == ""
    finally:
        keyring.set_keyring(before)


def test_a_computer_without_a_keyring():
    keyring = pytest.importorskip("keyring", reason="the extra keyring is not installed")
    from keyring.backends import fail  # noqa: PLC0415

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    try:
        assert credential("influxdb", None) == ""
    finally:
        keyring.set_keyring(before)
