"""Measure search quality: run judged queries through the live search and baselines, with confidence intervals."""

from typing import TYPE_CHECKING

from shopsearch import modules_of

if TYPE_CHECKING:
    from shopsearch.evaluation import fits, judgements
    from shopsearch.evaluation.query_files import JudgedQuery

__all__ = ["JudgedQuery", "fits", "judgements"]
__getattr__ = modules_of(__name__, JudgedQuery="query_files")
