from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.errors import OptionError, UnknownNameError, UserError
from ssdd_bench.plugins.discovery import Place, Registry
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.options import OptionInfo
from ssdd_bench.plugins.spec import TokenizerRequest, parse_requests


def make_info(name: str, *options: OptionInfo) -> TokenizerInfo:
    return TokenizerInfo(
        id=name,
        title=name,
        family="test",
        description="",
        licence="",
        version="1",
        folder=Path(),
        source="test",
        package="test",
        options={option.name: option for option in options},
    )


KNOWN = {
    info.id: info
    for info in (
        make_info(
            "ssdd",
            OptionInfo("steps", "int", 1, "", minimum=1, maximum=100),
            OptionInfo("shift", "float", 2.0, ""),
            OptionInfo("checkpoint", "path", "", ""),
        ),
        make_info("klvae", OptionInfo("path", "path", "", "")),
        make_info(
            "jpeg",
            OptionInfo("quality", "int", 75, "", minimum=1, maximum=100),
            OptionInfo("subsampling", "str", "4:2:0", "", choices=("4:2:0", "4:4:4", "none")),
            OptionInfo("fast", "bool", False, ""),
        ),
        make_info("identity"),
        make_info("two-words"),
    )
}


TOKENIZERS = Registry(
    "tokenizer",
    "no-group",
    "tokenizer.toml",
    lambda: [Place(name, "test", Path(), "") for name in KNOWN],
    lambda place: {place.name: KNOWN[place.name]},
    by_id=True,
)


def labels(text: str) -> list[str]:
    return [request.label for request in parse_requests(text, TOKENIZERS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssdd", "ssdd"),
        ("ssdd,klvae", "ssdd klvae"),
        ("ssdd klvae", "ssdd klvae"),
        (" ssdd ,\n klvae, ", "ssdd klvae"),
        ("two-words,identity", "two-words identity"),
        ("ssdd:steps=8", "ssdd:steps=8"),
        # An axis, and a tokenizer after it.
        (
            "ssdd:steps=1,2,4,8,klvae jpeg:quality=50",
            "ssdd ssdd:steps=2 ssdd:steps=4 ssdd:steps=8 klvae jpeg:quality=50",
        ),
        ("ssdd:steps=2 4 8", "ssdd:steps=2 ssdd:steps=4 ssdd:steps=8"),
        # Several options, in any order and with any separator.
        ("ssdd:steps=2,shift=3", "ssdd:shift=3,steps=2"),
        ("ssdd:shift=3 steps=2", "ssdd:shift=3,steps=2"),
        # An option may follow a tokenizer named without any.
        ("klvae,ssdd,steps=2", "klvae ssdd:steps=2"),
        # Several axes: the last varies fastest.
        (
            "ssdd:steps=2,3,shift=4,5",
            "ssdd:shift=4,steps=2 ssdd:shift=5,steps=2 ssdd:shift=4,steps=3 ssdd:shift=5,steps=3",
        ),
        ("jpeg:quality=10,20 jpeg:fast=true", "jpeg:quality=10 jpeg:quality=20 jpeg:fast=true"),
        # Values that look like something else.
        ("jpeg:subsampling=4:2:0,4:4:4", "jpeg jpeg:subsampling=4:4:4"),
        ("jpeg:subsampling=none,4:4:4,ssdd", "jpeg:subsampling=none jpeg:subsampling=4:4:4 ssdd"),
        ("jpeg:subsampling=4:4:4,none", "jpeg:subsampling=4:4:4 jpeg:subsampling=none"),
        ("jpeg:fast=false,true,klvae", "jpeg jpeg:fast=true klvae"),
        ("ssdd:shift=-1,.5,1e3", "ssdd:shift=-1 ssdd:shift=0.5 ssdd:shift=1000"),
        # Paths.
        ("klvae:path=/a:b/c.d-e_f", "klvae:path=/a:b/c.d-e_f"),
        ("klvae:path=/a,/b,./c,../d", "klvae:path=/a klvae:path=/b klvae:path=./c klvae:path=../d"),
        ("klvae:path=org/model,other/model", "klvae:path=org/model klvae:path=other/model"),
        ("klvae:path=C:\\x\\y#z", "klvae:path=C:\\x\\y#z"),
        ("klvae:path=/a?b=c,identity", "klvae:path=/a?b=c identity"),
        ("klvae:path=ssdd", "klvae:path=ssdd"),
        ('klvae:path="/my files/a,b"', 'klvae:path="/my files/a,b"'),
        ("klvae:path=", "klvae"),
        # Defaults are left out, equal requests come once.
        ("ssdd:steps=1", "ssdd"),
        ("ssdd:shift=2", "ssdd"),
        ("ssdd,ssdd:steps=1,2,ssdd:steps=2", "ssdd ssdd:steps=2"),
    ],
)
def test_text_becomes_requests(text: str, expected: str) -> None:
    found = labels(text)
    assert found == labels(expected)
    if '"' not in expected:
        assert found == expected.split(" ")


@pytest.mark.parametrize(
    "path", ["/a b", "/a,b", "/it's", '/a"b', "/both'\"", "C:\\new", "/a=b", "#1", "/é ü"]
)
def test_any_path_survives_its_label(path: str) -> None:
    request = TokenizerRequest("klvae", {"path": path})
    assert parse_requests(request.label, TOKENIZERS) == [request]


def test_values_are_typed() -> None:
    (request,) = parse_requests("jpeg:quality=50,fast=true", TOKENIZERS)
    assert request == TokenizerRequest("jpeg", {"quality": 50, "fast": True})
    (request,) = parse_requests("ssdd:shift=3", TOKENIZERS)
    assert type(request.options["shift"]) is float


def test_label_sorts_its_options() -> None:
    request = TokenizerRequest("ssdd", {"steps": 2, "shift": 0.5})
    assert request.label == "ssdd:shift=0.5,steps=2"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("ssd", UnknownNameError, "unknown tokenizer 'ssd': did you mean ssdd?"),
        ("ssdd,jpge:quality=5", UnknownNameError, "unknown tokenizer 'jpge': did you mean jpeg?"),
        ("ssdd:steps=2,klvea", UnknownNameError, "unknown tokenizer 'klvea': did you mean klvae?"),
        ("JPEG", UnknownNameError, "unknown tokenizer 'JPEG': known: identity, jpeg"),
        ("ssdd:step=2", OptionError, "ssdd: unknown option 'step': did you mean steps"),
        ("ssdd:steps=2,chekpoint=x", OptionError, "unknown option 'chekpoint': did you mean check"),
        ("identity:q=1", OptionError, "identity: unknown option 'q': this tokenizer takes none"),
        ("ssdd:steps=0", OptionError, "ssdd: option 'steps' must be an integer from 1 to 100, not"),
        ("ssdd:steps=1,101", OptionError, "ssdd: option 'steps' must be an integer from 1 to 100"),
        ("ssdd:steps=1,1.5", OptionError, "not '1.5'"),
        ("ssdd:steps=four", OptionError, "not 'four'"),
        ("ssdd:steps=", OptionError, "not ''"),
        ("ssdd:steps=1:shift=2", OptionError, "not '1:shift=2'"),
        ("ssdd:steps=1,org/model", OptionError, "org/model: repository on the Hugging Face Hub"),
        ("jpeg:subsampling=4:2:2", OptionError, "must be one of 4:2:0, 4:4:4, none, not '4:2:2'"),
        ("jpeg:fast=yes", OptionError, "must be true or false"),
        ("ssdd:8", OptionError, "'ssdd:8' must read ssdd:OPTION=VALUE; options of ssdd: steps, sh"),
        ("identity:", OptionError, "options of identity: none"),
        ("steps=2", OptionError, "'steps=2' follows no tokenizer: write ID:steps=2"),
        ("2,ssdd", UnknownNameError, "unknown tokenizer '2'"),
        ("identity,2", UnknownNameError, "unknown tokenizer '2'"),
        ("ssdd:steps=1,steps=2", OptionError, "'steps' is given twice: write steps=A,B to run"),
        ("klvae:path='/a", OptionError, "a quote is not closed"),
        ("", OptionError, "no tokenizer is named"),
        (" , ", OptionError, "no tokenizer is named"),
    ],
)
def test_faults_are_one_clear_line(text: str, kind: type[UserError], message: str) -> None:
    with pytest.raises(kind) as caught:
        parse_requests(text, TOKENIZERS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_one_tokenizer_do_not_leak_into_the_next() -> None:
    options: list[Any] = [
        request.options for request in parse_requests("ssdd:steps=2 jpeg", TOKENIZERS)
    ]
    assert options == [{"steps": 2}, {}]
