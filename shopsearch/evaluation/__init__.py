"""Measure search quality: run judged queries through the live search and baselines, with confidence intervals."""

from shopsearch.evaluation.query_files import JudgedQuery

__all__ = ["JudgedQuery"]
