"""Settings come from variables, a TOML file or the command line; what is misspelt stops the start."""

from pathlib import Path

import pytest

from service.settings import InvalidSettings, load_settings, sources


@pytest.fixture(autouse=True)
def _without_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("QINCO_"):
            monkeypatch.delenv(name)


def test_the_defaults_make_a_server() -> None:
    settings = load_settings()
    assert (settings.port, settings.host, settings.api_key) == (6333, "127.0.0.1", None)
    assert settings.threads >= 1


def test_a_misspelt_variable_stops_the_start_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINCO_MAX_PENDNG", "5")
    with pytest.raises(
        InvalidSettings, match=r"^Unknown variable QINCO_MAX_PENDNG\. Did you mean QINCO_MAX_PENDING\?$"
    ):
        load_settings()


def test_a_misspelt_key_of_the_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("prot = 1\n")
    with pytest.raises(InvalidSettings, match=r"Unknown setting 'prot' in .* Did you mean port"):
        load_settings(tmp_path / "settings.toml")


def test_a_value_out_of_range_is_told_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINCO_PORT", "70000")
    with pytest.raises(InvalidSettings, match=r"^Setting 'port': input should be less than or equal to 65535\.$"):
        load_settings()


def test_the_command_line_goes_before_variables_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('host = "file"\nport = 1\nthreads = 1\n')
    monkeypatch.setenv("QINCO_PORT", "2")
    monkeypatch.setenv("QINCO_THREADS", "2")
    settings = load_settings(file, threads=3)
    assert (settings.host, settings.port, settings.threads) == ("file", 2, 3)
    origins = sources(file, threads=3)
    assert origins["host"] == f"file, {file}"
    assert origins["port"] == "environment, QINCO_PORT"
    assert (origins["threads"], origins["device"]) == ("command line", "default")


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text("port = 7\n")
    monkeypatch.setenv("QINCO_CONFIG", str(tmp_path / "settings.toml"))
    assert load_settings().port == 7


def test_a_read_only_key_alone_would_leave_writing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINCO_READ_ONLY_API_KEY", "reader")
    with pytest.raises(InvalidSettings, match="read_only_api_key is set without api_key"):
        load_settings()


def test_keys_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QINCO_API_KEY", "very-secret")
    assert "very-secret" not in repr(load_settings())
