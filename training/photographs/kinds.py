"""What shops sell and ImageNet has no class for, with what it is called."""

from __future__ import annotations

KINDS = {
    "T-Shirt": ("t-shirt", "tee shirt", "short sleeved t-shirt"),
    "Longsleeve": (
        *("longsleeve", "long sleeve top", "long sleeved t-shirt"),
        *("jumper", "pullover", "sweater"),
    ),
    "Pants": ("pants", "trousers", "jeans", "chinos"),
    "Shoes": ("shoes", "sneakers", "trainers", "boots"),
    "Shirt": ("shirt", "button-up shirt", "dress shirt", "blouse"),
    "Dress": ("dress", "gown", "summer dress"),
    "Outwear": ("outerwear", "jacket", "coat", "parka", "anorak"),
    "Shorts": ("shorts", "short pants", "bermuda shorts"),
    "Hat": ("hat", "cap", "beanie", "headwear"),
    "Skirt": ("skirt", "mini skirt", "pleated skirt"),
    "Polo": ("polo shirt", "polo"),
    "Undershirt": ("undershirt", "tank top", "sleeveless top", "singlet", "vest top"),
    "Blazer": ("blazer", "suit jacket", "sports jacket"),
    "Hoodie": ("hoodie", "hooded sweatshirt"),
}
"""By the label in photographs.jsonl."""
