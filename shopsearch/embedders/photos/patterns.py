"""The patterns that a surface may have, and the words that ask for them."""

from __future__ import annotations

import re

import numpy as np

from shopsearch.embedders.photos.colours import Numbers

PLAIN = "solid"
# English, German, French, Spanish, Italian, Portuguese, Dutch, Swedish, Polish.
PATTERNS = {
    PLAIN: "plain solid uni unicolor einfarbig uni liso lisa effen enfärgad gładki gładka",
    "stripes": "striped stripes stripe stripy streifen gestreift gestreifte gestreiftes rayé rayée rayures marinière "
    "rayas rayado rayada righe rigato rigata listras listrado listrada strepen gestreepte randig randigt ränder "
    "paski pasy prążki",
    "dots": "dots dotted polka spotted punkte gepunktet gepunktete tupfen pois lunares topos bolas bolinhas stippen "
    "prickig prickigt prickar kropki groszki",
    "plaid": "plaid tartan flannel kariert karierte kariertes écossais écossaise escocés escocesa scozzese xadrez "
    "geruit geruite rutig rutigt skotskrutig",
    "chevron": "chevron zigzag zickzack herringbone fischgrät espiga visgraat fiskben jodełka",
    "checkered": "checkered chequered checked checks check checkerboard gingham schachbrett vichy carreaux cuadros "
    "cuadrado quadri quadretti quadriculado ruitjes rutor kratka kratę kraciasta",
    "floral": "floral flowers flower flowery blumen geblümt geblümte blumenmuster blüten fleurs fleuri fleurie flores "
    "floreado floreada fiori floreale florido bloemen gebloemd blommig blommigt blommor kwiaty kwiatki kwiecisty",
    "hearts": "heart hearts herz herzen cœur coeur cœurs coeurs corazón corazones cuore cuori coração corações hart "
    "hartjes hjärta hjärtan serce serca serduszka",
    "stars": "star stars stern sterne étoile étoiles estrella estrellas stella stelle estrela estrelas ster sterren "
    "stjärna stjärnor gwiazda gwiazdki gwiazdy",
    "leopard": "leopard cheetah leo léopard leopardo leopardato luipaard panterka",
    "zebra": "zebra zèbre cebra",
    "tiger": "tiger tigre tijger tygrys",
    "cow": "cow kuh kuhflecken vache vaca mucca koe ko krowa",
    "giraffe": "giraffe girafe jirafa giraffa girafa giraff żyrafa",
    "camo": "camo camouflage camouflaged military tarnmuster camuflaje camuflado mimetico camuflagem kamouflage moro",
    "galaxy": "galaxy nebula galaxie galaxia galassia galáxia galax galaktyka",
    "marble": "marble marbled marmor marmoriert marbre marbré mármol marmo mármore marmer marmur",
    "brick": "brick ziegel brique ladrillo mattone tijolo baksteen tegel cegła",
    "leaves": "leaf leaves tropical palm blätter palmen feuilles palmiers hojas foglie folhas bladeren blad liście",
}
NAMES = tuple(PATTERNS)
BY_WORD = {word: number for number, words in enumerate(PATTERNS.values()) for word in words.split()}


def asked(text: str) -> Numbers:
    """The patterns that a text names: unit length, or zeros where it names none."""
    shares = np.zeros(len(NAMES), np.float32)
    for word in re.findall(r"\w+", text.lower()):
        if (number := BY_WORD.get(word)) is not None:
            shares[number] = 1
    return shares / max(float(np.linalg.norm(shares)), 1.0)
