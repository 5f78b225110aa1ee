"""Every setting, once: from QINCO_… variables, a TOML file, or the command line."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.browsers import origins
from service.invalid_settings import InvalidSettings

PREFIX = "QINCO_"
CONFIG_VARIABLE = "QINCO_CONFIG"
# The tests read it; it is no setting of the service, and must not stop a start beside them.
NOT_SETTINGS = {CONFIG_VARIABLE, "QINCO_FIXTURES"}

MIB = 1024 * 1024
GIB = 1024 * MIB


class Settings(BaseSettings):
    """What an operator may choose; the defaults make a working server on this machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    data: Path = Field(default=Path("qinco-data"), description="Folder that holds everything; made when missing.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(
        default=6333, ge=0, le=65535, description="Port to listen on; 0 lets the system choose a free one."
    )
    api_key: SecretStr | None = Field(
        default=None, min_length=1, description="Key that may do everything; none asks for no key."
    )
    read_only_api_key: SecretStr | None = Field(
        default=None, min_length=1, description="Key that may read and query only; needs the api_key beside it."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where codecs run; auto takes CUDA where there is a GPU."
    )
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=1024,
        description="Threads for PyTorch, Faiss and Numba together; by default the cores of the machine.",
    )
    max_body: int = Field(
        default=64 * MIB,
        ge=1024,
        le=GIB,
        description="Largest JSON body and array of queries, in bytes; counted while it streams.",
    )
    max_upload: int = Field(
        default=4 * GIB,
        ge=1024,
        le=1024 * GIB,
        description="Largest array upload or model file, in bytes; counted while it streams.",
    )
    max_pending: int = Field(
        default=200_000,
        ge=1000,
        le=100_000_000,
        description="Vectors of a collection that may wait for encoding, in RAM.",
    )
    disk_reserve: int = Field(
        default=64 * MIB,
        ge=0,
        le=1024 * GIB,
        description="Free bytes of the disk that writes leave for deletes and merges; beyond it they get 507.",
    )
    max_limit: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Largest limit + offset of a query, in points."
    )
    recent_queries: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Query vectors of late that each collection remembers in RAM, for measuring recall; 0 for none.",
    )
    pair_table: int = Field(
        default=64 * MIB,
        ge=0,
        le=64 * GIB,
        description="Most bytes of the table that a model makes for `rerank`; beyond it the network decodes, slower.",
    )
    max_queued: int = Field(
        default=1000, ge=1, le=1_000_000, description="Queries that may wait; further ones get 429."
    )
    max_wait: int = Field(
        default=2000,
        ge=1,
        le=60_000,
        description="Longest that a query may have to wait for others, in milliseconds; further ones get 429.",
    )
    query_batch: int = Field(
        default=64, ge=1, le=4096, description="Most queries answered by one pass of the pipeline."
    )
    query_timeout: int = Field(
        default=60, ge=1, le=3600, description="Longest that a query may wait for its answer, in seconds."
    )
    encode_batch: int = Field(default=32_768, ge=1, le=1_000_000, description="Most vectors encoded in one batch.")
    train_at: int = Field(
        default=10_000,
        ge=512,
        le=100_000_000,
        description="Vectors at which a collection of the model auto trains first, unless codes.train_at says.",
    )
    train_budget: int = Field(
        default=300, ge=1, le=86_400, description="Time that such a training may take, in seconds."
    )
    body_timeout: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="Longest pause within a body that is being sent, in seconds, then 408; and the longest for a head.",
    )
    cors_origins: str | None = Field(
        default=None,
        min_length=1,
        description="Origins of web pages that may ask from a browser, with commas between; * for every one.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="PEM file of the certificate chain: HTTPS instead of HTTP; needs the tls_key beside it.",
    )
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's private key.")
    grace: int = Field(default=30, ge=0, le=3600, description="Time for requests in flight when stopping, in seconds.")
    metrics_collections: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="Collections with a label of their own in /metrics; the rest share '(other)'.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe event that is logged."
    )

    log_format: Literal["text", "json"] = Field(
        default="text", description="How events are logged: as lines of text, or as JSON objects, one a line."
    )

    @model_validator(mode="after")
    def _a_reader_needs_a_writer(self) -> "Settings":
        if self.read_only_api_key and not self.api_key:
            raise ValueError("read_only_api_key is set without api_key, which would leave writing open to everybody")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together, and one is missing")
        if self.cors_origins is not None:
            origins(self.cors_origins)
        for path in (self.tls_certificate, self.tls_key):
            if path is not None and not path.is_file():
                raise ValueError(f"there is no file {path} to serve HTTPS with")
        if self.tls_certificate is not None and self.tls_key is not None:
            _check_tls(self.tls_certificate, self.tls_key)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings


def _check_tls(certificate: Path, key: Path) -> None:
    """Raise ValueError unless HTTPS can be served with them; for a passphrase the start would wait, unseen."""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        told = getattr(error, "reason", None) or error.strerror or error
        raise ValueError(
            f"HTTPS cannot be served with tls_certificate {certificate} and tls_key {key} ({told}): they are PEM files "
            "that belong together, the key without a passphrase"
        ) from error


def load_settings(config: Path | None = None, **chosen: Any) -> Settings:
    """The settings in force: `chosen` (None means not chosen) before QINCO_… variables before the TOML file.

    Raises InvalidSettings, with one sentence, for a name that does not exist or a value out of its range.
    """
    _refuse_unknown_variables(os.environ)
    try:
        return Settings(**_merged(config, chosen))
    except ValidationError as error:
        raise InvalidSettings(_sentence(error)) from error


def sources(config: Path | None = None, **chosen: Any) -> dict[str, str]:
    """Where each setting's value comes from, in words."""
    in_file = _read_toml(config)
    environment = {name.upper() for name in os.environ}

    def source(name: str) -> str:
        if chosen.get(name) is not None:
            return "command line"
        if PREFIX + name.upper() in environment:
            return f"environment, {PREFIX}{name.upper()}"
        return f"file, {_config_path(config)}" if name in in_file else "default"

    return {name: source(name) for name in Settings.model_fields}


def _merged(config: Path | None, chosen: Mapping[str, Any]) -> dict[str, Any]:
    environment = {name.upper() for name in os.environ}
    from_file = {name: value for name, value in _read_toml(config).items() if PREFIX + name.upper() not in environment}
    return from_file | {name: value for name, value in chosen.items() if value is not None}


def _config_path(config: Path | None) -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    return config or (Path(named) if named else None)


def _read_toml(config: Path | None) -> dict[str, Any]:
    path = _config_path(config)
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidSettings(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"The settings file {path} is not TOML: {error}.") from error
    for name in values:
        if name not in Settings.model_fields:
            raise InvalidSettings(
                f"Unknown setting '{name}' in {path}.{_suggestion(name, list(Settings.model_fields))}"
            )
    return values


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in environ:
        if name.upper().startswith(PREFIX) and name.upper() not in NOT_SETTINGS and name.upper() not in known:
            raise InvalidSettings(f"Unknown variable {name}.{_suggestion(name.upper(), known)}")


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]}?" if close else " 'qinco-server config' lists those there are."


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"Setting '{where}': {message[0].lower()}{message[1:]}." if where else f"Settings: {message}."
