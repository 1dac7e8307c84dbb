"""Light stemmers: a word without the ending of its plural, and of its gender where both forms are one thing.

Snowball's stemmers cut too much for a shop: bedding and bed, plata and plato, Drucker and Druck, porte and port are
different things. They serve the languages that have no stemmer here. Every function takes a word without case and
accents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Stemmer = Callable[[str], str]


def _pairs(text: str) -> dict[str, str]:
    """What is written as "knives knife, men man"."""
    return {each.split()[0]: each.split()[1] for each in text.split(",")}


def _ends_with_any(word: str, endings: Iterable[str]) -> str:
    return next((each for each in endings if word.endswith(each)), "")


# English

_IRREGULAR = _pairs(
    "men man, women woman, snowmen snowman, gentlemen gentleman, salesmen salesman, children child, feet foot, "
    "teeth tooth, geese goose, mice mouse, lives life, wives life, elves elf, quizzes quiz, cacti cactus, "
    "vertices vertex, matrices matrix, indices index, appendices appendix, people person, oxen ox, axes axe, "
    "menus menu, gurus guru, tutus tutu, haikus haiku, emus emu, mens man, womens woman, childrens child"
) | {"wives": "wife"}
_IRREGULAR_ENDINGS = _pairs(
    "shelves shelf, knives knife, leaves leaf, scarves scarf, loaves loaf, halves half, wolves wolf, hooves hoof, "
    "calves calf, thieves thief, women woman"
)
_NO_PLURALS = (
    # Not a plural, or another thing than its singular.
    "lens canvas atlas gas alias bias christmas pancreas texas news goods customs shorts tights briefs iris tennis "
    "basis axis chassis oasis pelvis cannabis trellis clematis ibis analysis crisis genesis mantis amaryllis paris "
    "this chaos cosmos asbestos"
)
_SINGULAR = frozenset(_NO_PLURALS.split())


def english(word: str) -> str:
    """Hoodies and hoodie, lenses and lens, shelves and shelf; shorts and short stay apart."""
    if ending := _ends_with_any(word, _IRREGULAR_ENDINGS):
        word = word.removesuffix(ending) + _IRREGULAR_ENDINGS[ending]
    word = _IRREGULAR.get(word, word)
    if len(word) < 4 or word in _SINGULAR:
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("ses", "shes", "ches", "xes", "zes", "oes")) and len(word) > 4:
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us")):
        word = word[:-1]
    # The same letters with and without the e of the plural: case and cases, box and boxes, shoe and shoes.
    if len(word) > 3 and word.endswith(("se", "she", "che", "xe", "ze", "oe")):
        return word[:-1]
    return word[:-2] + "y" if word.endswith("ie") and len(word) > 3 else word


# Spanish

_NO_SPANISH_PLURALS = (
    "arnes compas ingles frances portugues japones danes holandes reves interes estres marques gas gres cipres mes "
    "res lunes martes jueves viernes atras detras ademas jamas"
)
_SPANISH_SINGULAR = frozenset(_NO_SPANISH_PLURALS.split())
_SPANISH_PLURALS = _pairs(
    "menus menu, champus champu, bambus bambu, tribus tribu, tutus tutu, jerseis jersey"
)
_SPANISH_STEMS = (
    # Without their last letter.
    "roj negr blanc amarill morad rosad dorad platead azulad verdos anaranjad nuev viej pequen larg cort anch estrech "
    "baj alt redond cuadrad ovalad modern clasic rustic electric inalambric metalic plegad plan curv fin grues liger "
    "pesad suav blandit dur llen vaci sec humed frio fri calid barat bonit lind mal bell clar oscur elastic sintetic "
    "organic ecologic magnetic automatic hidraulic acustic ergonomic termic hermetic luminos lis estampad rayad "
    "bordad tejid cosid pintad tallad lacad forrad acolchad ajustad holgad entallad trenzad barnizad cromad impres "
    "cerrad abiert decorad floread lavad cepillad aterciopelad encerad satinad perfumad masculin femenin deportiv "
    "decorativ adhesiv maciz complet perfect rapid tranquil unic divers primer segund tercer ultim tod much poc otr "
    "mism nuestr vuestr cuy turc espanol american mexican italian rus european african asiatic romantic artistic "
    "fantastic plastificad vegan diestr mecanic"
)
_SPANISH_ADJECTIVES = frozenset(_SPANISH_STEMS.split())
_SPANISH_NOUNS = frozenset(["tostada", "calzada", "granada"])


def spanish(word: str) -> str:
    """Tazas and taza, luces and luz, grises and gris, rojas and rojo; plata and plato stay apart."""
    word = _SPANISH_PLURALS.get(word, word)
    if len(word) > 3 and word.endswith("s") and word not in _SPANISH_SINGULAR:
        if word.endswith("es") and len(word) > 4:
            word = word[:-2]
        elif not word.endswith(("us", "is")):
            word = word[:-1]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]  # of guante as of guantes
    if word.endswith("z"):
        return word[:-1] + "c"  # of luz as of luces
    if len(word) > 3 and word.endswith(("a", "o")):
        is_participle = len(word) > 6 and word.endswith(("ada", "ado", "ida", "ido"))
        if word[:-1] in _SPANISH_ADJECTIVES or (is_participle and word not in _SPANISH_NOUNS):
            return word[:-1]
    return word


# German

_PLURALS_IN_ER = (
    # Those in -er; other words in -er, such as Drucker, are things of their own.
    "kinder bilder bretter glaser hauser rader bucher tucher bander kleider blatter felder lichter schilder lieder "
    "schlosser fasser manner worter huhner dacher locher eier schwerter nester korner horner volker dorfer bader "
    "kalber lammer gespenster walder amter rinder geister munder kraeuter krauter guter mauler"
)
_GERMAN_PLURALS = tuple(_PLURALS_IN_ER.split())
_GERMAN_WORDS = (
    "rot grun blau schwarz weiss grau gelb braun bunt lila rosa gold silber lang kurz klein gross neu alt warm kalt "
    "weich hart dunn dick breit schmal leicht schwer rund eckig flach tief hoch hoh glatt rau fein grob hell dunkel "
    "matt klar voll leer sauber trocken nass modern klassisch elegant stark schwach schnell laut leis gut schon "
    "billig teuer elektrisch magnetisch faltbar tragbar wasserdicht bequem einfach doppelt gestreift kariert "
    "gepunktet geblumt gemustert bedruckt bestickt lackiert poliert gepolstert holzern metallisch transparent "
    "durchsichtig"
)
_GERMAN_ADJECTIVES = frozenset(_GERMAN_WORDS.split())
_GERMAN_KEPT = _pairs("reise reise, reisen reise, leinen leinen")


def german(word: str) -> str:
    """Taschen and Tasche, Häuser and Haus, grüner and grün; Drucker and Druck stay apart."""
    if word in _GERMAN_KEPT:
        return _GERMAN_KEPT[word]
    if _ends_with_any(word, _GERMAN_PLURALS):
        word = word[:-2]
    for ending in ("eres", "eren", "er", "es", "em", "en", "e"):
        if word.endswith(ending) and word.removesuffix(ending) in _GERMAN_ADJECTIVES:
            return word.removesuffix(ending)
    if word in _GERMAN_ADJECTIVES or len(word) < 4:
        return word
    if word.endswith(("eln", "ern")):
        word = word[:-1]
    elif word.endswith(("en", "es")) and len(word) > 4:
        word = word[:-2]
    elif word.endswith("e"):
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word


# French

_FRENCH_MASCULINE = {
    # By the feminine form, without the s or x of the plural.
    feminine: masculine
    for masculine, feminine in _pairs(
        "noir noire, vert verte, blanc blanche, gri grise, bleu bleue, brun brune, violet violette, rond ronde, "
        "grand grande, petit petite, long longue, court courte, haut haute, epai epaisse, leger legere, lourd lourde, "
        "fin fine, plat plate, beau belle, nouveau nouvelle, vieu vieille, dou douce, rou rousse, sec seche, "
        "frai fraiche, chaud chaude, froid froide, ancien ancienne, bon bonne, gro grosse, ba basse, net nette, "
        "elegant elegante, transparent transparente, brillant brillante, ecossai ecossaise, francai francaise, "
        "anglai anglaise, japonai japonaise, marron marronne, dore doree, argente argentee, raye rayee, carre carree, "
        "brode brodee, imprime imprimee, perle perlee, fleuri fleurie, uni unie, joli jolie, tricote tricotee, "
        "matelasse matelassee, verni vernie, poli polie, colore coloree, pliant pliante, ouvert ouverte, "
        "couvert couverte, clair claire, fonce foncee, dur dure, mural murale, neuf neuve, sportif sportive, "
        "decoratif decorative, interieur interieure, exterieur exterieure, masculin masculine, feminin feminine, "
        "indien indienne, italien italienne, premier premiere, entier entiere"
    ).items()
}
_FRENCH_AU = frozenset(["tuyau", "noyau", "landau", "sarrau", "boyau", "joyau", "gruau", "etau"])


def french(word: str) -> str:
    """Robes and robe, chapeaux and chapeau, bocaux and bocal, noire and noir; porte and port stay apart."""
    if len(word) > 3:
        if word.endswith("aux") and not word.endswith("eaux"):
            word = word[:-1] if word[:-1] in _FRENCH_AU else word[:-2] + "l"
        elif word.endswith(("s", "x")) and not word.endswith("ss"):
            word = word[:-1]
    return _FRENCH_MASCULINE.get(word, word)


LIGHT: dict[str, Stemmer] = {"de": german, "en": english, "es": spanish, "fr": french}
