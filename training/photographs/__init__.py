"""Makes shopsearch/embedders/photos/learned/ from openly licensed photographs and the demo's renders.

    python -m training.photographs.pictures PICTURES      small copies of the pictures, from clones of SOURCES
    python -m training.photographs.features PICTURES PHOTOGRAPHS features.npz      half an hour on one core
    python -m training.photographs.fit features.npz [--folds FOLDER]      two minutes
    python -m training.photographs.phrases      a minute

PHOTOGRAPHS is a folder with photographs.jsonl: 668 CC0 photographs of clothes. ``--folds`` also writes the matrices of
a cross-validation, each made without a fifth of the photographers: benchmarks/photographs.py measures with them.
"""
