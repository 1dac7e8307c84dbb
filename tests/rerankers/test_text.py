"""The text reranker over a small cross-encoder with random weights: it says what the model says.

That a random model ranks well is never claimed.
"""

import pytest
from django.core.exceptions import ImproperlyConfigured
from PIL import Image

from shopsearch.rerankers.ordering import arrange
from shopsearch.rerankers.text import TextReranker
from shopsearch.testing import ColourEmbedder
from shopsearch.types import Candidate, Query

RED, GREEN, BLUE = (220, 30, 30), (30, 160, 60), (40, 60, 210)
WORDS = ["mug", "plate", "lamp", "shoe", "chair", "vase", "bowl", "clock"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    vocabulary = {word: place for place, word in enumerate([*special.values(), *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(vocabulary), num_labels=1, initializer_range=1.0, **shape)
    path = tmp_path_factory.mktemp("models") / "cross-encoder"
    BertForSequenceClassification(config).save_pretrained(path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(path)
    return path


def own_scores(folder, text, candidates):
    """What transformers makes of the model, without FlagEmbedding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [each.text for each in candidates]
    inputs = AutoTokenizer.from_pretrained(folder)([text] * len(texts), texts, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[:, 0].tolist()


@pytest.fixture
def reranker(folder):
    return made(folder)


def made(folder, **options):
    reranker = TextReranker(checkpoint=str(folder), device="cpu", **options)
    reranker.bind(ColourEmbedder())
    return reranker


def candidate(colour, text):
    return Candidate(product_id=text, image=Image.new("RGB", (32, 32), colour), text=text, score=0.5)


MIXED = [candidate(RED, "lamp clock"), candidate(GREEN, "mug bowl"), candidate(BLUE, "chair mug")]


def test_its_scores_of_words_are_the_models_own(reranker, folder):
    judgement = reranker.rerank(Query(text="lamp"), MIXED)
    said = [float(score) for score in judgement.raw.partition(" | ")[0].split()]
    assert said == pytest.approx(own_scores(folder, "lamp", MIXED), abs=2e-4)
    assert len(set(said)) == 3


def test_words_and_picture_are_fused(folder):
    words = own_scores(folder, "lamp", MIXED)
    fits, fits_not = words.index(max(words)), words.index(min(words))
    colour = MIXED[fits_not].image.getpixel((0, 0))
    query = Query(text="lamp", image=Image.new("RGB", (8, 8), colour))
    by_text = made(folder, text_weight=1).rerank(query, MIXED)
    by_picture = made(folder, text_weight=0).rerank(query, MIXED)
    assert by_text.scores.index(max(by_text.scores)) == fits
    assert by_text.reason == "its title and description fit your words the best."
    assert by_picture.scores.index(max(by_picture.scores)) == fits_not
    by_both = made(folder, text_weight=0.25).rerank(query, MIXED).scores
    halves = zip(by_text.scores, by_picture.scores, strict=True)
    assert by_both == pytest.approx([0.25 * text + 0.75 * picture for text, picture in halves], abs=1e-5)


def test_a_picture_alone_is_judged_by_pictures_alone(folder):
    query = Query(image=Image.new("RGB", (8, 8), BLUE))
    reranker = made(folder / "nothing is loaded")
    assert reranker.rerank(query, MIXED) == reranker._joint.rerank(query, MIXED)


def test_the_candidates_order_changes_nothing_and_each_is_placed_once(reranker):
    query = Query(text="mug")
    there, back = reranker.rerank(query, MIXED).scores, reranker.rerank(query, MIXED[::-1]).scores
    assert there == pytest.approx(back[::-1], abs=1e-5)
    order = arrange(reranker.rerank(query, MIXED), [0.5, 0.4, 0.3], weight=1, lift=9)
    assert sorted(order.positions) == [0, 1, 2]
    assert reranker.rerank(query, []).scores == []


def test_its_name_changes_with_weights_and_share(folder, tmp_path):
    assert made(folder).model == made(folder).model
    assert made(folder, text_weight=0.3).model != made(folder).model
    assert made(folder).model.startswith("text/cross-encoder@")
    assert made("BAAI/bge-reranker-v2-m3", revision="main").model.startswith(
        "text/BAAI/bge-reranker-v2-m3:main*0.5"
    )


def test_a_folder_without_safetensors_is_refused_before_anything_of_it_is_loaded(folder, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    assert "model.safetensors" in made(tmp_path).check()[0].msg
    assert made(folder).check() == []
    assert "text_weight" in made(folder, text_weight=2).check()[0].msg
    with pytest.raises(ImproperlyConfigured, match=r"model\.safetensors"):
        made(tmp_path).rerank(Query(text="mug"), MIXED)
