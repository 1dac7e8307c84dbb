"""The tests. Each folder mirrors a package of shopsearch; the others are named for what they try."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Data that is too large for the repository. A test that needs it skips by name where it is absent."""
