"""The rules of redaction: secrets are removed, the words around them stay, and so does text that only looks like a secret."""

import ast
import re
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derive.fingerprint import fingerprint, title
from schemas import generate
from schemas.redaction import REDACTED, Redactor, Secrecy, names, pairs, redact, shown_url
from testing.secret_forms import FORMS, HARMLESS, NAMES, OTHER_NAMES, Form

RULES = Path(generate.__file__).parent / "redaction"
# Secrets that need no quotes; the last ones are words that could also be in a sentence.
SECRETS = st.text("abcdefgh0123456789ABCDEFGH-_~", min_size=6, max_size=40).filter(
    lambda text: any(map(str.isdigit, text)) and not text.startswith("-")
) | st.sampled_from(["swordfish", "topsecret", "SECRET", "hunter2"])
PLACES = (
    "GET /x?api_key={} failed",
    "host=db password={} dbname=x",
    'body {{"accessToken": "{}", "x": 1}} refused',
    "kwargs {{'db_password': '{}'}} refused",
    "Pwd={};Database=x",
    "sent Authorization: Bearer {} to x",
    "the server refused Bearer {} today",
    "cannot reach amqp://app:{}@mq:5672/x now",
    "cannot reach https://{}@h.example/x now",
    "X-Api-Key: {}",
    "tool --client-secret {} --verbose",
    "[('x-auth-token', '{}'), ('a', 'b')]",
)


HOSTILE = (
    *(
        "a",
        "password=",
        'password="',
        "token=[",
        "://",
        "://a:b",
        "://a@",
        "postgres://a:1/",
        "?code=",
        '"password": "',
    ),
    *(
        "\\",
        "eyJ",
        "sk-aaaa-",
        "Bearer ",
        "--password ",
        "<password>",
        "key ",
        "cookie: ",
        "password=a,b ",
        "-----BEGIN ",
    ),
    *(
        "mysql -p ",
        '"name": "password", "value": ',
        "password=a(",
        "(((",
        "a:b@",
        "password='''",
        "token\n  input_value=",
    ),
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.what)
def test_secret_is_removed_and_the_words_around_it_stay(form: Form) -> None:
    shown = redact(form.text)
    assert all(secret in form.text for secret in form.secrets)
    assert [secret for secret in form.secrets if secret in shown] == []
    assert [words for words in form.survive if words not in shown] == []
    assert REDACTED in shown


@pytest.mark.parametrize("text", HARMLESS)
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.what)
def test_redacting_again_changes_nothing(form: Form) -> None:
    once = redact(form.text)
    assert redact(once) == once


@given(SECRETS, st.sampled_from(PLACES))
def test_any_secret_is_found_in_its_place(secret: str, place: str) -> None:
    shown = redact(place.format(secret))
    assert secret not in shown
    assert redact(shown) == shown
    assert shown.split()[-1] == place.format(secret).split()[-1] or REDACTED in shown.split()[-1]


@given(st.text(st.sampled_from("pasword=:;,&?@/\\\"'`()[]{}<> \n-.key0%"), max_size=80))
def test_any_text_is_redacted_without_an_error(text: str) -> None:
    redact(text)


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_secret_is_known_in_any_spelling(name: str) -> None:
    assert Redactor().secrecy(name)
    assert Redactor().hides(name, "swordfish")


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_name_that_only_contains_such_a_word_is_not_a_secrets_name(name: str) -> None:
    assert Redactor().secrecy(name) is Secrecy.NONE


def test_every_name_of_a_secret_contains_a_searched_word() -> None:
    """Texts without such a word are not examined further."""
    words = (*names._PHRASES, *names._CERTAIN_WORDS, *names._LIKELY_WORDS)
    assert [word for word in words if not any(part in word for part in pairs.PARTS_OF_NAMES)] == []


def test_values_that_are_clearly_not_secrets_are_shown() -> None:
    """`password=None` explains a failed log-in, and `max_tokens` is only a number."""
    redactor = Redactor()
    assert not any(redactor.hides("password", value) for value in (None, True, "", "***"))
    assert not any(redactor.hides("auth", value) for value in ("basic", "oauth2", 3))
    assert not redactor.hides("tokens", 4096)
    assert redactor.hides("password", 471142)
    assert redactor.hides("token", b"bytes")
    assert redactor.hides("cookies", {"sid": "1"})
    assert redactor.hides("PWD", "hunter2")
    assert not redactor.hides("PWD", "/home/bob")


def test_configured_names_are_found_in_texts_too() -> None:
    redactor = Redactor(("pesel", "Tax-ID"))
    assert redactor.text("pesel=02070803628 user=bob") == f"pesel={REDACTED} user=bob"
    assert redactor.text('{"userPesel": "02070803628"}') == f'{{"userPesel": "{REDACTED}"}}'
    assert redactor.text("tax_id: 4711-12") == f"tax_id: {REDACTED}"
    assert redact("pesel=02070803628") == "pesel=02070803628"


def test_secrets_can_be_masked_without_changing_the_length() -> None:
    """All other characters keep their positions."""
    redactor = Redactor(hide=lambda secret: "*" * len(secret))
    assert redactor.text("password=hunter2 x=1") == "password=******* x=1"
    assert redactor.text("amqp://a:hunter2@mq x") == "amqp://a:*******@mq x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("pulsar://broker:6650", "pulsar://broker:6650"),
        ("pulsar+ssl://user:hunter2@broker:6651", "pulsar+ssl://broker:6651"),
        ("https://user:hunter2@broker:8443/?token=hunter2", "https://broker:8443/"),
        ("https://hunter2@broker/base", "https://broker/base"),
        ("u:hun/ter2@host", "host"),
        ("us:hunter2@host:6650", "host:6650"),
        ("pulsar://us:hun/ter2@x@host:6650?token=hunter2", "pulsar://host:6650"),
        ("pulsar://us:hun ter2@host:6650", "pulsar://host:6650"),
        ("http://us:hun?ter2@host/x", "http://host/x"),
        ("http://us:hun#ter2@host", "http://host"),
        ("pulsar://us:%68unter2@[::1]:6650", "pulsar://[::1]:6650"),
        ("//us:hunter2@host", "//host"),
        ("pulsar://us:hunter2", "pulsar://us"),
        ("pulsar://us:hunter2@one:6650,two:6650", "pulsar://one:6650,two:6650"),
        ("pulsar://one:6650,two:6650", "pulsar://one:6650,two:6650"),
        ("https://host/?mail=a@b&token=hunter2", "https://b"),
        ("", ""),
    ],
)
def test_address_is_shown_without_user_password_and_query(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_a_time_linear_in_its_length(unit: str) -> None:
    """Scanning the rest of the text repeatedly would take a minute for these 50 kB."""
    assert seconds_for("password token @ " + unit * (50_000 // len(unit))) < 3


def test_megabyte_of_hostile_text_takes_seconds() -> None:
    assert seconds_for(" ".join(unit * (1_000_000 // len(HOSTILE) // len(unit)) for unit in HOSTILE)) < 30


def seconds_for(text: str) -> float:
    started = time.process_time()
    redact(text)
    return time.process_time() - started


def test_placeholder_is_always_the_same_so_failures_stay_one_group() -> None:
    messages = [
        f"401 for https://app:{secret}@h/x?token={secret} of movie 7" for secret in ("hunter2", "s3cr3t")
    ]
    keys = {fingerprint("HTTPError", redact(message), "app:go", "") for message in messages}
    titles = {title("HTTPError", redact(message), "app:go") for message in messages}
    assert len(keys) == len(titles) == 1


def test_rules_need_nothing_but_the_standard_library() -> None:
    """They are copied into the SDK, which may import nothing else."""
    for path in RULES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert (
                    name.startswith("schemas.redaction") or name.split(".")[0] in sys.stdlib_module_names
                ), path


def test_copy_in_the_sdk_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0
    copy = generate.generate_redaction({"x.py": "from schemas.redaction.names import y\n"})["x.py"]
    assert re.search(
        r"^# Written by `make contract`.*\nfrom jobtrail\._redaction\.names import y$", copy, re.MULTILINE
    )
    assert capsys.readouterr().err == ""
