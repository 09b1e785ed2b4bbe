"""The settings: who wins over whom, what is refused, and that no key is ever shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.config import (
    DEFAULT_BASE_URL,
    DEFAULT_SUPERVISOR_MODEL,
    Config,
    SupervisorConfig,
    agree,
    config_path,
    load_config,
    runs_dir,
)
from edgenode.errors import UsageError

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX")
KEY = "sk-secret-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def write(file: Path, text: str, mode: int = 0o600) -> None:
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def test_nothing_configured_is_no_supervisor(file: Path) -> None:
    """Without key and base URL there is no supervisor, whatever model is named."""
    assert load_config({}, file).supervisor is None
    assert load_config({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, file, supervisor_model="m").supervisor is None
    write(file, 'max_egress = 9000\n[supervisor]\nmodel = "m"\napi_key = ""\n')
    config = load_config({}, file)
    assert config.supervisor is None
    assert config.max_egress == 9000


def test_a_key_alone_is_enough(file: Path) -> None:
    """A key asks the default model at the default address."""
    supervisor = load_config({"OPENAI_API_KEY": KEY}, file, cloud=True).supervisor
    assert supervisor == SupervisorConfig(DEFAULT_SUPERVISOR_MODEL, DEFAULT_BASE_URL, KEY)
    assert KEY not in repr(supervisor)


def test_a_base_url_alone_is_enough(file: Path) -> None:
    """A local endpoint needs no key, and is known to be on this machine."""
    supervisor = load_config({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1/"}, file, cloud=True).supervisor
    assert supervisor is not None
    assert (supervisor.base_url, supervisor.api_key, supervisor.local) == ("http://127.0.0.1:11434/v1", None, True)


def test_command_line_over_environment_over_file(file: Path) -> None:
    """Each place overrides the ones below it, setting by setting."""
    write(
        file, f'[supervisor]\nmodel = "file-model"\nbase_url = "https://file.example/v1"\napi_key = "{KEY}"\ntimeout_seconds = 5\n'
    )
    assert load_config({}, file).supervisor == SupervisorConfig("file-model", "https://file.example/v1", KEY, 5)
    environment = {"OPENAI_API_KEY": "sk-other", "OPENAI_BASE_URL": "https://environment.example/v1"}
    assert load_config(environment, file, supervisor_model="told").supervisor == SupervisorConfig(
        "told", "https://environment.example/v1", "sk-other", 5
    )


def test_where_the_file_and_the_runs_are(tmp_path: Path) -> None:
    """EDGENODE_CONFIG names the file, EDGENODE_DATA the place of the runs."""
    write(tmp_path / "x.toml", "max_egress = 1\n")
    assert load_config({"EDGENODE_CONFIG": str(tmp_path / "x.toml")}).max_egress == 1
    assert config_path({}).name == "config.toml"
    assert runs_dir() == tmp_path / "data" / "runs"


@posix
def test_a_key_that_others_can_read_is_refused(file: Path) -> None:
    """A readable file with a key tells the command that mends it; without a key its mode does not matter."""
    write(file, f'[supervisor]\napi_key = "{KEY}"\n', mode=0o644)
    with pytest.raises(UsageError, match=r"other users can read.*chmod 600") as caught:
        load_config({}, file)
    assert KEY not in str(caught.value)
    write(file, '[supervisor]\nmodel = "m"\n', mode=0o644)
    load_config({}, file)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[supervisor", "not valid TOML"),
        (f'[supervisor]\napi_key = "{KEY}', "not valid TOML"),
        ('[supervisor]\napi_keys = "x"', r"unknown setting 'supervisor.api_keys'"),
        ("speed = 3", "unknown setting 'speed'"),
        ("supervisor = 3", "supervisor must be a table"),
        ("[supervisor]\nmodel = 3", "supervisor.model must be a text"),
        ("[supervisor]\ntimeout_seconds = 0", "supervisor.timeout_seconds must be a number above 0"),
        ("[supervisor]\ntimeout_seconds = nan", "supervisor.timeout_seconds must be a number above 0"),
        ("max_egress = true", "max_egress must be a whole number above 0"),
        ("max_egress = 1.5", "max_egress must be a whole number above 0"),
        ("max_egress = 4294967296", "max_egress must be a whole number above 0 and at most 4294967295"),
        (f"max_egress = {'9' * 400}", "max_egress must be a whole number above 0"),
        ('[supervisor]\nbase_url = "https://h/v1"\nmodel = "a\\nb"', "model name holds blanks"),
        ("#" * 70_000, "larger than"),
    ],
)
def test_a_file_that_is_not_understood_is_a_sentence(file: Path, text: str, sentence: str) -> None:
    """Damage, unknown settings and wrong types name the file and the setting, and never a key."""
    write(file, text)
    with pytest.raises(UsageError, match=sentence) as caught:
        load_config({}, file)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_other_bytes_is_a_sentence(file: Path) -> None:
    """A file that is not UTF-8, and a folder in its place, are told."""
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_config({}, file)
    with pytest.raises(UsageError, match="cannot be read"):
        load_config({}, file.parent)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://192.168.1.20:8000/v1", "unencrypted"),
        ("http://api.openai.com/v1", "unencrypted"),
        ("http://127.0.0.1.example.com/v1", "unencrypted"),
        ("ftp://host/v1", "must be http or https"),
        ("api.openai.com/v1", "must be http or https"),
        ("https://", "must be http or https"),
        ("https://user:hunter2@host/v1", "without user name"),
        ("https://host/v1?key=hunter2", "without user name"),
        ("https://host/v1\n", "must be http or https"),
        ("https://host:port/v1", "not a URL"),
        ("https://[::1/v1", "not a URL"),
    ],
)
def test_a_base_url_that_is_unsafe_or_unusable_is_refused(file: Path, url: str, sentence: str) -> None:
    """Findings do not travel in the clear, and nothing secret can stand in the URL."""
    with pytest.raises(UsageError, match=sentence) as caught:
        load_config({"OPENAI_BASE_URL": url}, file)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:1234/v1", "http://[::1]:1/v1", "https://openrouter.ai/api/v1", "http://127.0.0.1:80"]
)
def test_safe_base_urls_are_taken(file: Path, url: str) -> None:
    """This machine without encryption, anything else with it."""
    supervisor = load_config({"OPENAI_BASE_URL": url}, file, cloud=True).supervisor
    assert supervisor is not None
    assert supervisor.local is url.startswith("http:")


def test_a_key_that_cannot_be_a_header_is_refused_unseen(file: Path) -> None:
    """A key copied with its line break is told without being shown: HTTP libraries would quote it in their errors."""
    with pytest.raises(UsageError, match="Copy it again") as caught:
        load_config({"OPENAI_API_KEY": KEY + "\n"}, file)
    assert KEY not in str(caught.value)


def test_reading_settings_imports_nothing_heavy() -> None:
    """The settings are read at every start of the command line: without openai, prices or an HTTP client."""
    script = "import sys, coordinator.config; print(*sorted({'openai', 'genai_prices', 'httpx2', 'grpc'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120).stdout.strip() == ""
    )


def test_a_supervisor_of_the_environment_alone_waits_for_the_users_word(file: Path) -> None:
    """It is withheld until somebody has agreed to its address; one of the file needs no word; `cloud` decides for this time."""
    environment = {"OPENAI_API_KEY": KEY}
    withheld = load_config(environment, file)
    assert withheld.supervisor is None
    assert withheld.withheld is not None
    assert load_config(environment, file, cloud=True).supervisor == withheld.withheld
    assert load_config(environment, file, cloud=False) == Config()

    agree(withheld.withheld)
    assert load_config(environment, file).supervisor == withheld.withheld
    assert load_config(environment | {"OPENAI_BASE_URL": "https://other.example/v1"}, file).supervisor is None
    assert load_config(environment, file, cloud=False).supervisor is None

    file.write_text('[supervisor]\nbase_url = "https://mine.example/v1"\n')
    assert load_config({}, file).supervisor is not None
    assert load_config({}, file, cloud=False).supervisor is None
