"""The analyzer: a text becomes the terms that are stored of a product and compared with a query's, in every store.

Two things are made of a text. Its words, without endings, say what a product is about. A name says what it is called:
there every sign that means something counts, so that "C++" is not "C", and "+2.50" is not "-2.50".
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from itertools import pairwise
from typing import NamedTuple

from django.conf.locale import LANG_INFO

from shopsearch.registry.stemmers import LIGHT

MAX_CHARACTERS = 8_000
"""Of a product's terms; what is beyond cannot be found."""
NAME_REPEATS = 8
"""How often a query repeats the name that it may be: exact name matches rank above word matches."""
VERSION = 2
"""Raise it whenever the same text gives other terms: it is part of the collection's field of words."""

MAX_STARTS, START_CHARACTERS = 12, 200
"""Of a text that is suggested while typing: the words that it is found by, and the characters that are kept of it."""
WORD_CHARACTERS = 40
"""Of the longest word that typing errors are corrected to."""
MOST, RARE = 0.75, 1.6
"""A product has most of a query's rare words if it has words with this share of their rarity, one of them as rare as
this: at most every fifth product has it. See ``QueryTerms.mostly_in``."""
SKU_PART, SKU_CHARACTERS = 4, 32
"""A SKU is found by its first letters and digits, from so many; of a longer one only so many count."""


# Signs

_DASHES = dict.fromkeys(map(ord, "‐‑‒–−﹣"), "-")
_QUOTES = dict.fromkeys(map(ord, "’‘′´`ʹ"), "'") | dict.fromkeys(map(ord, "“”″„«»"), '"')
_LETTERS = {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
_SIGNS = str.maketrans({**_LETTERS, "⁄": "/", "∕": "/", "×": "x"}) | _DASHES | _QUOTES
_TRADE_MARKS = dict.fromkeys(map(ord, "™®©℠"), " ")
_UMLAUT = {"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"}
_UMLAUTS = str.maketrans(_UMLAUT | {sign.upper(): spelt.title() for sign, spelt in _UMLAUT.items()})
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_KEPT_MARKS = range(7, 200)
"""The combining classes of marks that make another letter: the voiced marks of Japanese, and those of Indic and Thai
scripts. Accents have classes above; the points of Hebrew and Arabic (10 to 36) are left out as accents are."""
_POINTS = range(10, 37)
_MARKS = "".join(
    chr(code) for code in range(0x300, 0x3100) if unicodedata.category(chr(code)) in ("Mn", "Mc")
)
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_SCRIPTS = re.compile(
    r"[\u3040-\u309f]+|[\u30a0-\u30ff]+|[\u0e00-\u0eff]+|[\u1000-\u109f]+|[\u1780-\u17ff]+|.[^\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff]*"
)
_CURRENCIES = {
    "$": "dollar",
    "€": "euro",
    "£": "pound",
    "¥": "yen",
    "₹": "rupee",
    "₩": "won",
    "₽": "rouble",
    "₺": "lira",
}
_SIGN_WORDS = {
    "+": "plus",
    "-": "minus",
    "#": "hash",
    "°": "degree",
    "%": "percent",
    '"': "inch",
    "'": "foot",
    **_CURRENCIES,
}
_ABBREVIATED = re.compile(r"(?<!\w)(?:[^\W\d_]\.){2,}")
_MONEY = "".join(_CURRENCIES)

_TOKEN = re.compile(
    rf"""
    (?P<number> (?: (?<![^\s(\[,;:]) [+-] )? (?: (?<![\d/])\d+/\d+(?![\d/]) | \d+(?:[.,]\d+)* ) )
    | (?P<letters> [^\W\d_] (?:[^\W\d_]|[{_MARKS}])* (?:[+\#]+(?!\w))? )
    | (?P<sign> [{_MONEY}°%\#] | (?<=\d)["'] )
    """,
    re.VERBOSE,
)

WORD = re.compile(rf"[^\W\d_](?:[^\W\d_]|[{_MARKS}])*")
"""A word of letters alone, whatever its case and accents."""


def _folded(text: str) -> str:
    """Without case, accents and width; with every sign. Half a letter such as "½" is the fraction "1/2"."""
    if text.isascii():  # as most texts are
        return text.lower().translate(_SIGNS)
    text = _VULGAR.sub(" ", text.translate(_TRADE_MARKS))
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Twice: the case of some letters has marks of its own.
    kept = (each for each in text if not _is_accent(each))
    return unicodedata.normalize("NFC", "".join(kept)).translate(_SIGNS)


def _is_accent(character: str) -> bool:
    kind = unicodedata.combining(character)
    return bool(kind) and (kind not in _KEPT_MARKS or kind in _POINTS)


def _spellings(text: str) -> list[str]:
    """The text folded; a second time with "ue" for "ü", where that is another spelling."""
    folded, spelt = _folded(text), _folded(unicodedata.normalize("NFC", text).translate(_UMLAUTS))
    return [folded] if folded == spelt else [folded, spelt]


def plain(text: str) -> str:
    """Its letters and digits without case, accents, punctuation and odd spaces: "  Teléfono-X 5" is "telefono x 5"."""
    return " ".join(re.findall(rf"(?:[^\W_]|[{_MARKS}])+", _folded(text)))


# Names


def _key(folded: str) -> str:
    """What a name is compared by: letters, digits and the signs that mean something; "" for a text without letters.

    Spaces count between digits alone; hyphens and apostrophes do not count beside letters, nor dashes between words.
    """
    if not re.search(r"[^\W_]", folded):
        return ""
    if folded.count('"') % 2 == 0 and not re.search(r'\d"', folded.partition('"')[0] + '"'):
        folded = folded.replace('"', " ")
    key = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", folded)
    key = re.sub(r"(?<=\d)[.,](?=\d)", "\1", key)  # decimals
    key = re.sub(r"\s-+\s|(?<=[^\W\d_])-+(?=\w)|(?<=\d)-+(?=[^\W\d_])|(?<=[^\W_])-{2,}", " ", key)
    key = re.sub(r"""(?<![\d])["']|[^\w\s"'+\-#/°%\1""" + re.escape(_MONEY + _MARKS) + r"]|_", " ", key)
    key = " ".join(key.split()).replace("\1", ".")
    return re.sub(r"(?<!\d) | (?!\d)", "", key)


def _hashed(kind: str, key: str) -> str:
    """A term that nobody types, the same for whatever reads alike."""
    return kind + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:24]


def _bare(key: str) -> str:
    """Its letters and digits alone."""
    return re.sub(r"[\W_]", "", key)


def _sku(name: str, key: str) -> str:
    """A SKU's letters and digits; "" for a name that is none: with spaces, without digits, or with a decimal."""
    bare = _bare(key)[:SKU_CHARACTERS]
    is_code = re.search(r"\d", bare) and (len(bare) > 5 or not bare.isdigit())
    has_decimal = re.search(r"(?<![\d.])\d+\.\d+(?![\d.])", key)
    return (
        bare if is_code and len(bare) >= SKU_PART and not has_decimal and not name.strip().count(" ") else ""
    )


def _name_terms(name: str) -> list[str]:
    """What is stored of a product that is called so."""
    keys = [key for each in _spellings(name) if (key := _key(each))]
    if not keys:
        return []
    sku = _sku(name, keys[0])
    parts = [_hashed("y", sku)] if sku else []
    parts += [_part(sku[:length]) for length in range(SKU_PART, len(sku) + 1)]
    return [*(_hashed("x", key) for key in keys), *parts]


def _part(part: str) -> str:
    return f"zq{part}" if part.isascii() else _hashed("zq", part)


# Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word, number or sign of a text."""

    text: str
    spelt: str
    """The same with "ue" for "ü"."""
    kind: str
    gap: str
    """What stands between it and the token before."""

    @property
    def is_sign(self) -> bool:
        return self.kind == "sign"


def tokens(text: str) -> list[Token]:
    """The words, numbers and signs of a text, in their order."""
    spellings = [
        _ABBREVIATED.sub(lambda dotted: dotted.group().replace(".", ""), each) for each in _spellings(text)
    ]
    found: list[Token] = []
    end = 0
    others = [match.group() for match in _TOKEN.finditer(spellings[-1])]
    matches = list(_TOKEN.finditer(spellings[0]))
    if len(others) != len(matches):
        others = [match.group() for match in matches]
    for match, other in zip(matches, others, strict=True):
        gap = spellings[0][end : match.start()] if found else " "
        found.append(Token(text=match.group(), spelt=other, kind=str(match.lastgroup), gap=gap))
        end = match.end()
    return found


def _encoded(term: str) -> str:
    """The term as every store's tokenizer leaves it whole."""
    if term.isalnum() and not _UNSPACED.search(term):
        return term
    code = term.encode("utf-8", "replace").hex()
    return f"zu{code}" if len(code) <= 36 else _hashed("zu", term)


def _grams(word: str) -> Iterator[tuple[str, ...]]:
    """For each letter of a word without spaces, the pairs of letters that have it; the letter where it is alone."""
    runs = _SCRIPTS.findall(word)
    # A single letter of hiragana between others, such as の, says nothing.
    for run in [each for each in runs if len(each) > 1 or not "\u3040" <= each <= "\u309f"] or runs:
        letters = re.findall(rf".[{_MARKS}]*", run)
        pairs = [_encoded("".join(pair)) for pair in pairwise(letters)]
        if not pairs:
            yield (_encoded(run),)
        for place in range(len(letters) if pairs else 0):
            yield tuple(dict.fromkeys(pairs[max(0, place - 1) : place + 1]))


def _number(text: str) -> str:
    """A number as one term: 1.25 and 1,25 are "1d25", 1,000 is "1000", 1/2 is "1s2"."""
    text = re.sub(r",(?=\d{3}(?!\d))", "", text)
    return re.sub(r"[.,]", "d", text).replace("/", "s")


class _Text:
    """The terms of a text in a language."""

    def __init__(self, text: str, language: str) -> None:
        self.language = known_language(language)
        self.stop_words = _STOP_WORDS.get(self.language, frozenset())
        found = list(self._without_elisions(tokens(text)))
        self.is_all_stop_words = all(each.is_sign or each.text in self.stop_words for each in found)
        self.tokens = found

    def _without_elisions(self, found: Sequence[Token]) -> Iterator[Token]:
        """Without the 's of men's, and in French without the l' of l'eau."""
        for place, each in enumerate(found):
            is_joined = each.gap == "'" and place
            if is_joined and each.text == "s":
                continue
            after = found[place + 1] if place + 1 < len(found) else None
            if self.language in ("fr", "it", "ca") and after and after.gap == "'" and each.text in _ELISIONS:
                continue
            yield each

    def is_stop_word(self, token: Token) -> bool:
        return token.text in self.stop_words and not self.is_all_stop_words

    def stem(self, word: str) -> str:
        return _encoded(stem(word, self.language))

    def forms(self, token: Token) -> tuple[str, ...]:
        """The terms of which any is this token: the word by both spellings; a sign makes another word of it."""
        if token.kind == "number":
            sign = _SIGN_WORDS.get(token.text[0], "")
            return (sign + _number(token.text.lstrip("+-")),)
        if token.is_sign:
            return (_SIGN_WORDS[token.text],)
        word = token.text.rstrip("+#")
        signs = "".join(_SIGN_WORDS[each] for each in token.text[len(word) :])
        if signs:
            return (_encoded(word) + signs,)
        return tuple(dict.fromkeys(self.stem(each) for each in (token.text, token.spelt)))

    def unsigned(self, token: Token) -> str:
        """The token's term without its signs; "" where it has none."""
        bare = token.text.strip("+-#")
        if token.is_sign or bare == token.text:
            return ""
        return _number(bare) if token.kind == "number" else self.stem(bare)

    def joined(self, before: Token, token: Token) -> str:
        """Both as one word; "" where they are not likely to be written so."""
        if before.is_sign or token.is_sign or _UNSPACED.search(before.text + token.text):
            return ""
        if (
            token.kind == before.kind == "number"
            or not before.text[0].isalnum()
            or not token.text[0].isalnum()
        ):
            return ""
        if token.gap.isspace() and (self.is_stop_word(before) or self.is_stop_word(token)):
            return ""
        if not token.gap.isspace() and token.gap.strip(_JOINERS):
            return ""
        first = _number(before.text) if before.kind == "number" else before.text
        last = _number(token.text) if token.kind == "number" else token.text
        return self.stem((first + last).rstrip("+#"))

    def stored(self) -> Iterator[str]:
        """The terms of a product's text."""
        before: Token | None = None
        chain: list[str] = []
        for token in self.tokens:
            if before is not None and (joined := self.joined(before, token)):
                is_short = min(len(before.text), len(token.text)) <= 2
                if not token.gap.isspace() or before.kind != token.kind or is_short:
                    yield joined
            chain = (
                [*chain, token.text]
                if token.gap and not token.gap.strip(_JOINERS) and chain
                else [token.text]
            )
            if len(chain) > 2:
                yield self.stem("".join(chain).rstrip("+#"))
            before = token
            if self.is_stop_word(token):
                continue
            if token.kind == "letters" and _UNSPACED.search(token.text):
                yield from dict.fromkeys(term for grams in _grams(token.text) for term in grams)
                yield from (_encoded(each) for each in token.text if "\u3400" <= each <= "\u9fff")
                continue
            yield from self.forms(token)
            if unsigned := self.unsigned(token):
                yield unsigned

    def asked(self) -> tuple[list[tuple[str, ...]], list[str]]:
        """The terms of a query's text: for each word those of which a product should have any, and what is welcome."""
        wanted: list[tuple[str, ...]] = []
        welcome: list[str] = []
        before: Token | None = None
        last: int | None = None
        for token in self.tokens:
            joined = self.joined(before, token) if before is not None else ""
            previous, before = before, token
            if self.is_stop_word(token) or token.is_sign:
                welcome += self.forms(token)
                last = None
                continue
            if token.kind == "letters" and _UNSPACED.search(token.text):
                wanted += _grams(token.text)
                last = None
                continue
            if (
                joined
                and not token.gap
                and previous is not None
                and last is not None
                and token.kind != previous.kind
            ):
                # iphone15, m8, 500ml: one word, of which a product has the whole.
                welcome += [*wanted[last], *self.forms(token)]
                wanted[last] = (joined,)
                last = None
                continue
            forms = self.forms(token)
            if joined and last is not None and previous is not None and token.kind == previous.kind:
                wanted[last] = (*wanted[last], joined)
                forms = (*forms, joined)
            elif joined:
                welcome.append(joined)
            wanted.append(forms)
            last = len(wanted) - 1
            if unsigned := self.unsigned(token):
                welcome.append(unsigned)
        return wanted, welcome


@dataclass(frozen=True, kw_only=True)
class QueryTerms:
    """A query's terms, to be compared with those stored of a product."""

    words: tuple[tuple[str, ...], ...]
    """For each word of the query the terms of which a product should have any; several in one text are had together."""
    welcome: tuple[str, ...] = ()
    """Terms that a better product has."""
    called: tuple[str, ...] = ()
    """The terms of a product whose identifier reads like the whole query; none where the query cannot be a name."""
    sku: str = ""
    """The term of a product whose SKU reads so without its signs."""
    leading: str = ""
    """The term of a product whose SKU begins so."""
    phrases: tuple[tuple[str, ...], ...] = ()
    """Terms that a product should have one after the other; one that has not comes after those that have."""
    excluded: tuple[str, ...] = ()
    """Terms that a product should not have."""
    rarity: tuple[float, ...] = ()
    """How rare each of ``words`` is in the shop, 0 for one that no product has; empty where that is not known."""
    _known: dict[str, Comparison] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def _alternatives(self) -> list[tuple[frozenset[str], list[list[str]]]]:
        """For each word the terms of which a product has any, and those that it has together."""
        return [
            (
                frozenset(each for each in word if " " not in each),
                [each.split() for each in word if " " in each],
            )
            for word in self.words
        ]

    @property
    def text(self) -> str:
        """What a vector store is asked for; "" where the query has no terms."""
        words = (term for word in self.words for each in word for term in each.split())
        terms = dict.fromkeys([*words, *self.welcome])
        codes = [each for each in (*self.called, self.sku, self.leading) if each]
        return " ".join([*terms, *codes * NAME_REPEATS]).strip()

    def mostly_in(self, stored: str) -> bool:
        """Whether a product has all the query's words, or most of the rare ones: a match whatever its picture shows.

        Words that no product has may be missing, as in "cheap Kerb sneakers", but not more words than are there. One
        word alone says too little: a coffee mug is no match for "coffee machine".
        """
        return self.compared(stored).is_match

    def names(self, stored: str) -> bool:
        """Whether the query is what a product is called."""
        return self.place_of(stored) < 2

    def place_of(self, stored: str) -> int:
        """0 for a product that is called so, 1 where that is its SKU without signs, 2 where its SKU begins so, else 3.

        4 for a product that does not say what the query has in quotes.
        """
        return self.compared(stored).place

    def compared(self, stored: str) -> Comparison:
        """What a product has of the query, found out once for each product."""
        if (known := self._known.get(stored)) is None:
            held = set(stored.split())
            has = [
                not held.isdisjoint(terms) or any(map(held.issuperset, together))
                for terms, together in self._alternatives
            ]
            share = sum(has) / len(has) if has else 0.0
            known = self._known[stored] = Comparison(
                place=self._place(held, stored), share=share, is_match=self._is_match(has, share)
            )
        return known

    @cached_property
    def _names(self) -> list[tuple[str, int]]:
        """The terms of names that the query may be, each with its product's place, the best first."""
        return [*((each, 0) for each in self.called), (self.sku, 1), (self.leading, 2)]

    def _place(self, held: set[str], stored: str) -> int:
        for term, place in self._names:
            if term in held:
                return place
        for phrase in self.phrases:
            if not _says(stored, phrase):
                return 4
        return 3

    def _is_match(self, has: Sequence[bool], share: float) -> bool:
        if share == 1 or share < 0.5 or sum(has) < 2 or not self.rarity:
            return share == 1
        found = [rarity for rarity, is_there in zip(self.rarity, has, strict=True) if is_there]
        return max(found) >= RARE and sum(found) >= MOST * sum(self.rarity)


class Comparison(NamedTuple):
    """What a product has of a query."""

    place: int
    """See ``QueryTerms.place_of``."""
    share: float
    """Of the query's words, from 0 to 1."""
    is_match: bool
    """See ``QueryTerms.mostly_in``."""


class Synonyms:
    """Words, and what they mean in a shop, as terms of a language."""

    def __init__(self, pairs: Iterable[tuple[str, str]], language: str) -> None:
        self.said: set[str] = set()
        """All words without case and accents: none of them is a typing error."""
        self._meanings: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for words, meaning in pairs:
            self.said.update(plain(words).split())
            said, meant = tuple(stems(words, language)), " ".join(stems(meaning, language))
            if said and meant:
                self._meanings.setdefault(said[0], []).append((said, meant))

    def added_to(self, words: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """The words of a query, each with what it means too."""
        added = list(words)
        for place, word in enumerate(words):
            for said, meant in (each for term in word for each in self._meanings.get(term, ())):
                following = words[place : place + len(said)]
                if len(following) == len(said) and all(map(tuple.__contains__, following, said)):
                    for number in range(place, place + len(said)):
                        added[number] = (*added[number], meant)
        return added


def query_terms(
    text: str,
    language: str,
    *,
    names: Sequence[str] | None = None,
    phrases: Sequence[str] = (),
    excluded: Sequence[str] = (),
    synonyms: Synonyms | None = None,
    rarity: Callable[[Sequence[str]], float] | None = None,
) -> QueryTerms:
    """The terms of a text in a language. ``names`` are what a product's name may be: the text itself unless given.

    ``rarity`` returns how rare a word is in the shop, given its terms.
    """
    wanted, welcome = _Text(text, language).asked()
    wanted = synonyms.added_to(wanted) if synonyms else wanted
    names = [text] if names is None else names
    keys = [key for name in names for each in _spellings(name) if (key := _key(each))]
    bare = _bare(keys[0])[:SKU_CHARACTERS] if keys else ""
    is_code = len(bare) >= SKU_PART and bool(re.search(r"\d", bare))
    has_no_signs = bool(keys) and not re.search(r"[^\w ]", keys[0])
    words = tuple(dict.fromkeys(wanted))
    return QueryTerms(
        words=words,
        welcome=tuple(dict.fromkeys(welcome)),
        called=tuple(dict.fromkeys(_hashed("x", key) for key in keys)),
        sku=_hashed("y", bare) if is_code and has_no_signs else "",
        leading=_part(bare) if is_code and (has_no_signs or " " not in names[0].strip()) else "",
        phrases=tuple(tuple(stems(each, language)) for each in phrases),
        excluded=tuple(dict.fromkeys(term for each in excluded for term in stems(each, language))),
        rarity=tuple(map(rarity, words)) if rarity else (),
    )


def _says(stored: str, phrase: Sequence[str]) -> bool:
    """Whether terms follow each other in what is stored, with no more between them than words written as one."""
    between = r"(?: \S+){0,2} "
    return bool(phrase) and bool(re.search(rf"(?<!\S){between.join(map(re.escape, phrase))}(?!\S)", stored))


def product_terms(texts: Iterable[str], names: Iterable[str], *languages: str) -> str:
    """What is stored of a product: its names, each as terms of its own, and the words of its texts by each language."""
    called = dict.fromkeys(term for name in names for term in _name_terms(name))
    texts = list(texts)
    words = [
        term for language in languages or ("",) for text in texts for term in _Text(text, language).stored()
    ]
    if len(languages) > 1:
        words = list(dict.fromkeys(words))
    whole = " ".join([*called, *words])
    return whole if len(whole) <= MAX_CHARACTERS else whole[:MAX_CHARACTERS].rpartition(" ")[0]


def written_words(texts: Iterable[str]) -> list[str]:
    """The words of a product's texts as they are written, in lower case, without those with numbers or signs."""
    found = (word.lower() for text in texts for word in WORD.findall(unicodedata.normalize("NFC", text)))
    return [word for word in found if 1 < len(word) <= WORD_CHARACTERS and not _UNSPACED.search(word)]


def starts(text: str) -> list[str]:
    """The text by each of its words, for whoever types the beginning of one: the text from there on, then "|" and what
    stands before, all as ``plain`` writes it. "Red mug" is "red mug" and "mug | red". By both spellings of "ü"; a word
    without spaces begins at each of its letters; a code such as "AB-12" is "ab12" as well.
    """
    found: dict[str, None] = {}
    for spelling in _spellings(text):
        words = plain(spelling).split()
        for place, word in enumerate(words):
            before = ["|", *words[:place]] if place else []
            tails = [word[letter:] for letter in range(len(word))] if _UNSPACED.search(word) else [word]
            found |= {
                " ".join([tail, *words[place + 1 :], *before])[:START_CHARACTERS]: None for tail in tails
            }
        if len(words) > 1 and not re.search(r"\s", text.strip()) and re.search(r"\d", text):
            found["".join(words)[:START_CHARACTERS]] = None
    return list(found)[:MAX_STARTS]


def stems(text: str, language: str) -> list[str]:
    """Its words without endings and, where their language is known, without words such as "with"."""
    found = _Text(text, language)
    return [found.forms(each)[0] for each in found.tokens if not (each.is_sign or found.is_stop_word(each))]


def is_stop_word(word: str, language: str) -> bool:
    """Whether a word such as "with" says nothing in the language."""
    return word in _STOP_WORDS.get(language, ())


# Languages


def known_language(code: str) -> str:
    """The language of a code such as "en-us" if it has a stemmer; "" for another, whose words stay as they are."""
    language = code.replace("_", "-").partition("-")[0].lower()
    return language if language in LIGHT or _snowball(language) else ""


def version_of(languages: Sequence[str]) -> str:
    """Changes whenever the same text gives other terms: part of the collection's field, so that none are mixed.

    "2_en" for our own stemmers, such as "2_pt_3_1" for Snowball's, "2" without any.
    """
    names = (each if each in LIGHT else f"{each}_{_snowball_version()}" for each in languages if each)
    return "_".join([str(VERSION), *names])


@cache
def _snowball_version() -> str:
    """To read it from the installed package takes most of a millisecond, and every search asks."""
    major, minor, *_ = version("snowballstemmer").split(".")
    return f"{major}_{minor}"


@lru_cache(maxsize=20_000)
def stem(word: str, language: str) -> str:
    """A word without its ending; the word is without case and accents, the language one that is known."""
    if language in LIGHT:
        return LIGHT[language](word)
    import snowballstemmer  # forty modules, which a shop in the languages above never needs

    # A new one each time: a stemmer holds the word it is working on, and threads would share it.
    return str(snowballstemmer.stemmer(_snowball(language)).stemWord(word)) if language else word


def _snowball(language: str) -> str:
    """Snowball's name of a language, which is the first word of its English name; "" where it has no stemmer."""
    import snowballstemmer

    name = LANG_INFO.get(language, {}).get("name", "").partition(" ")[0].lower()
    return name if name in snowballstemmer.algorithms() else ""


_JOINERS = "-'.&"
_ELIDED = "l d j m n s t c qu jusqu lorsqu all dell nell sull un"
_ELISIONS = frozenset(_ELIDED.split())
_STOP_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "de": "am an auf aus bei das dem den der des die ein eine einem einen einer fur im in ist mit "
        "oder und von zu zum zur",
        "en": "a an and are as at be by for from in into is it its like of on or so that the this to with",
        "es": "a al asi como con de del el en es esta este esto la las lo los mas o para por que "
        "se su sus un una unas unos y",
        "fr": "a au aux avec ce ces cette dans de des du en est et la le les ou par pour sur un une",
    }.items()
}
