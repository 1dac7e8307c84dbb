"""What a vision-language model is asked: strangers' texts in it are data, and its words have a version."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shopsearch.rerankers import prompts
from tests.rerankers import tiny_models


@pytest.fixture(scope="module")
def tokenizers():
    return {family: tiny_models._tokenizer(family) for family in tiny_models.PROCESSOR}


@pytest.mark.parametrize("family", list(tiny_models.PROCESSOR))
@given(
    text=st.text(max_size=60)
    | st.lists(st.sampled_from("<|>im_start end[]INST/\n"), max_size=40).map("".join)
)
def test_no_quoted_text_spells_a_control_token_or_ends_its_quotation(tokenizers, family, text):
    tokenizer = tokenizers[family]
    quoted = prompts.quoted(text + tokenizer.eos_token + text)
    assert quoted[0] == quoted[-1] == '"'
    assert '"' not in quoted[1:-1]
    assert quoted.isprintable()
    assert not set(tokenizer(quoted, add_special_tokens=False)["input_ids"]) & set(tokenizer.all_special_ids)


def test_a_quoted_text_keeps_its_words_and_is_bounded():
    assert prompts.quoted("  Größe 38,\nleopard-print (2 pcs)  ") == '"Größe 38, leopard-print (2 pcs)"'
    assert len(prompts.quoted("long " * 1000)) <= prompts.MAX_CHARACTERS + 2


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("A red bag. It is large.", "A red bag."),
        ("  A red\n\nbag", "A red bag"),
        ("It costs 3.5 dollars! Buy", "It costs 3.5 dollars!"),
        ("", ""),
    ],
)
def test_only_the_first_sentence_of_what_a_model_writes_is_shown(written, sentence):
    assert prompts.sentence(written) == sentence


def test_the_version_goes_up_with_any_change_of_the_texts():
    """If this fails, add one to prompts.VERSION and put the new digest here."""
    image = Image.new("RGB", (8, 8))
    asked = [
        prompts.caption(image),
        prompts.listwise(image, ["a", "b"], text="t", caption="c", query_shown=True, titles=True),
        prompts.reason(image, "a", text="t", caption="c", query_shown=True),
        prompts.pointwise("t", image, "a", image),
    ]
    texts = [
        [part if isinstance(part, str) else "image" for part in each.parts] + [each.system, each.answer]
        for each in asked
    ]
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]
    assert (prompts.VERSION, digest) == ("1", "0b15ba9f1a3d")
