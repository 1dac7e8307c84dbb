"""Search quality in numbers: judged queries through the live search, beside baselines, with intervals."""

from shopsearch.evaluation.query_files import JudgedQuery

__all__ = ["JudgedQuery"]
