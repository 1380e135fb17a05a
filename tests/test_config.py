"""Settings: where they come from, which wins, what is said of a wrong one, what is never said."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from jobs.commands.configured import configured
from jobs.config import DOCS, KINDS, Settings
from jobs.given import flag, variable
from jobs.setting import SECRET, Secret
from streams.errors import ConfigError

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
WORD = "hunter2-of-kafka"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headrace.toml"


def load(content: str, file: Path, environ: dict[str, str] | None = None, **flags: str) -> Settings:
    file.write_text(content, encoding="utf-8")
    return Settings.load(file, flags, environ or {})


def refusal(content: str, file: Path, environ: dict[str, str] | None = None, **flags: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load(content, file, environ, **flags)
    return str(refused.value)


def test_a_flag_beats_the_environment_and_that_beats_the_file(file: Path) -> None:
    text = 'prefix = "a."\ngroup = "a"\nstate = "a"'
    environ = {"HEADRACE_GROUP": "b", "HEADRACE_PREFIX": "b."}
    settings = load(text, file, environ, prefix="c.")
    assert (settings.prefix, settings.group, settings.state) == ("c.", "b", file.parent / "a")
    assert settings.brokers == Settings().brokers


def test_without_any_file_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load(environ={}) == Settings()
    Path("headrace.toml").write_text('prefix = "found."', encoding="utf-8")
    assert Settings.load(environ={}).prefix == "found."


def test_the_environment_can_name_the_file(file: Path) -> None:
    file.write_text("commit_ms = 7", encoding="utf-8")
    assert Settings.load(environ={"HEADRACE_CONFIG": str(file)}).commit_ms == 7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("comit_ms = 5", "comit_ms: no such setting, did you mean commit_ms?"),
        ("zebra = 5", "zebra: no such setting; docs/configuration.md lists them"),
        ('commit_ms = "5"', "commit_ms: wanted a whole number from 1 to 60000, got '5'"),
        ("commit_ms = 0", "commit_ms: wanted a whole number from 1 to 60000, got 0"),
        ("commit_ms = true", "commit_ms: wanted a whole number from 1 to 60000, got True"),
        ("fsync = 1", "fsync: wanted true or false, got 1"),
        ('order = "any"', "order: wanted arrival or strict, got 'any'"),
        ('brokers = "kafka"', "brokers: wanted host:port, several by commas, got 'kafka'"),
        ('brokers = "kafka:99999"', "brokers: wanted host:port"),
        ('prefix = "a/b"', "prefix: wanted at most 100 letters, digits"),
        ('online = "localhost"', "online: wanted redis://"),
        ('state = ""', "state: wanted a path, got nothing"),
        ("[kafka]\nuser = 1", "kafka: no such setting"),
        ("prefix = ", "wanted a TOML file of settings, got: Invalid value"),
    ],
)
def test_a_wrong_file_is_refused_by_name_key_and_what_was_wanted(
    content: str, said: str, file: Path
) -> None:
    message = refusal(content, file)
    assert message.startswith(f"{file}: ") and said in message


def test_a_wrong_variable_and_a_wrong_flag_are_refused_by_their_names(file: Path) -> None:
    wanted = "wanted a whole number from 1 to 60000"
    environ = {"HEADRACE_COMMIT_MS": "fast"}
    assert refusal("", file, environ) == f"HEADRACE_COMMIT_MS: {wanted}, got 'fast'"
    assert refusal("", file, commit_ms="fast") == f"--commit-ms: {wanted}, got 'fast'"


def test_a_mistyped_variable_is_refused_and_a_foreign_one_is_not(file: Path) -> None:
    assert "did you mean HEADRACE_BROKERS?" in refusal("", file, {"HEADRACE_BROKER": "a:1"})
    assert load("", file, {"HEADRACE_SERVICE_HOST": "a", "HEADRACE_DATA": "b"}) == Settings()


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    for broken in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=str(broken)):
            Settings.load(broken, environ={})


def test_paths_of_a_file_are_relative_to_it_and_others_to_here(file: Path) -> None:
    settings = load('state = "s"\npipeline = "p.py"', file)
    assert (settings.state, settings.pipeline) == (file.parent / "s", str(file.parent / "p.py"))
    settings = load("", file, {"HEADRACE_PIPELINE": "p.py"}, state="s")
    assert (settings.state, settings.pipeline) == (Path("s"), "p.py")


def test_a_secret_comes_from_a_variable_or_from_a_file_of_its_own(file: Path) -> None:
    (file.parent / "word").write_text(WORD + "\n", encoding="utf-8")
    content = 'kafka_user = "u"\nkafka_password_file = "word"'
    settings = load(content, file)
    assert settings.kafka_password and settings.kafka_password.reveal() == WORD
    settings = load(content, file, {"HEADRACE_KAFKA_PASSWORD": "stronger"})
    assert settings.kafka_password and settings.kafka_password.reveal() == "stronger"


def test_a_secret_is_shown_nowhere(file: Path) -> None:
    environ = {
        "HEADRACE_KAFKA_PASSWORD": WORD,
        "HEADRACE_KAFKA_USER": "u",
        "HEADRACE_SIGNING_KEY": WORD,
        "HEADRACE_ONLINE": f"redis://:{WORD}@localhost:6379/0",
    }
    settings = load("", file, environ)
    assert WORD not in f"{settings!r} {settings} {settings.kafka_password}"
    assert "'redis://:***@localhost:6379/0'" in repr(settings)
    message = refusal(f'kafka_password = "{WORD}"', file)
    assert WORD not in message and "kafka_password_file" in message


@pytest.mark.parametrize("content", ["", None])
def test_a_secrets_file_that_holds_none_is_refused(content: str | None, file: Path) -> None:
    word = file.parent / "word"
    if content is not None:
        word.write_text(content, encoding="utf-8")
    assert str(word) in refusal('kafka_user = "u"\nkafka_password_file = "word"', file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('kafka_user = "u"', "kafka_user is set, so wanted kafka_password_file or"),
        ('kafka_password_file = "headrace.toml"', "so wanted kafka_user too"),
        ('kafka_cert = "headrace.toml"', "kafka_cert is set, so wanted kafka_key too"),
        ('kafka_ca = "none.pem"', "kafka_ca: wanted a PEM file"),
    ],
)
def test_what_does_not_go_together_is_refused(content: str, said: str, file: Path) -> None:
    assert said in refusal(content, file)


def test_security_is_as_it_was_set(file: Path) -> None:
    pytest.importorskip("confluent_kafka")
    assert Settings().security().protocol == "PLAINTEXT"
    assert load('kafka_ca = "headrace.toml"', file).security().protocol == "SSL"
    environ = {"HEADRACE_KAFKA_PASSWORD": WORD, "HEADRACE_KAFKA_MECHANISM": "PLAIN"}
    login = load('kafka_user = "u"\nkafka_tls = true', file, environ).security()
    assert (login.protocol, login.user, login.mechanism) == ("SASL_SSL", "u", "PLAIN")
    assert login.password == WORD and WORD not in repr(login)


def texts(name: str, value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "commit_ms": st.integers(1, 60_000),
            "snapshot_seconds": st.floats(0.1, 86_400),
            "fsync": st.booleans(),
            "prefix": st.from_regex(r"[a-zA-Z0-9._-]{0,20}", fullmatch=True),
            "order": st.sampled_from(["arrival", "strict"]),
        },
    )
)
def test_a_setting_means_the_same_wherever_it_is_said(values: dict[str, object]) -> None:
    named = {name: texts(name, value) for name, value in values.items()}
    by_flag = Settings.load(flags=dict(named), environ={})
    by_variable = Settings.load(environ={variable(name): text for name, text in named.items()})
    assert by_flag == by_variable
    assert {name: getattr(by_flag, name) for name in values} == values


@click.command()
@configured("commit_ms", "fsync")
@click.option("--other")
def shown(settings: Settings, other: str | None) -> None:
    click.echo(f"{settings.brokers} {settings.commit_ms} {settings.fsync} {other}")


def test_a_command_gets_its_settings_and_keeps_its_own_options(file: Path) -> None:
    file.write_text("commit_ms = 7", encoding="utf-8")
    arguments = ["--config", str(file), "--brokers", "k:1", "--fsync", "--other", "x"]
    assert CliRunner().invoke(shown, arguments).output == "k:1 7 True x\n"
    assert CliRunner().invoke(shown, ["--config", str(file)]).output.split()[1:] == [
        "7", "False", "None"
    ]  # fmt: skip


def test_help_names_flag_variable_and_default() -> None:
    said = CliRunner().invoke(shown, ["--help"]).output
    for word in ("--config", "--brokers", "HEADRACE_COMMIT_MS; 100", "--no-fsync"):
        assert word in said


def row(name: str) -> str:
    """Return the line that the docs' table must have for a setting."""
    default = getattr(Settings, name)
    secret = KINDS[name] is SECRET
    shown = f"`{texts(name, default)}`"
    value = "secret" if secret else KINDS[name].wanted.replace("|", "\\|")
    return f"| `{name}` | {value} | {'' if default in (None, '') else shown} | {DOCS[name]} |"


@pytest.mark.parametrize("name", KINDS)
def test_the_docs_list_every_setting(name: str) -> None:
    assert row(name) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_docs_list_no_other_setting_and_their_example_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 5]
    assert len(rows) == len(KINDS)
    example = page.split("```toml\n")[1].split("```")[0]
    (tmp_path / "ca.pem").touch()
    (tmp_path / "word").write_text(WORD, encoding="utf-8")
    settings = load(example.replace("/run/secrets/kafka", "word"), tmp_path / "headrace.toml")
    assert settings.delivery == "exactly-once" and isinstance(settings.kafka_password, Secret)
    assert {variable(name) for name in KINDS} >= {"HEADRACE_KAFKA_PASSWORD", "HEADRACE_BROKERS"}
    assert flag("commit_ms") in page
