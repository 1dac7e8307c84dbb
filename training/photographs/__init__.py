"""Makes shopsearch/embedders/photos/learned/ from openly licensed photographs and the demo's renders.

    python -m training.photographs.pictures PICTURES      small copies of the pictures, from clones of SOURCES
    python -m training.photographs.features PICTURES PHOTOGRAPHS features.npz      twenty minutes on a quiet core
    python -m training.photographs.fit features.npz [--folds FOLDER]      two minutes
    python -m training.photographs.phrases      a minute

PHOTOGRAPHS is a folder with photographs.jsonl: 668 CC0 photographs of clothes. ``--folds`` also writes the matrices of
a cross-validation, each made without a fifth of the photographers: benchmarks/photographs.py measures with them.

The matrices that are in the package were fitted to features of an earlier version of ``features``, which scaled a
picture after it had made it square: the cosine of both versions' features is .988 to .998 on twenty photographs. The renders'
features are of this version.
"""
