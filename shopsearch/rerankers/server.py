"""Any server with OpenAI's chat completions: vLLM, SGLang, llama.cpp, transformers serve, hosted models.

All candidates are on one collage and the model is asked once. A server may follow a JSON schema, or accept and ignore
it, and no schema makes the numbers distinct. So the answer is parsed as if there were no schema, and then repaired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers import prompts
from shopsearch.rerankers.collage import collage
from shopsearch.rerankers.ordering import parse_json
from shopsearch.rerankers.remote import RemoteReranker, base64_jpeg, storable
from shopsearch.types import Candidate, Query, RerankerOutput

VERSION = "1"
"""Increased with every change of the texts below."""

RANK = (
    "Rank the products from the most to the least suitable for the search. Answer with nothing but a JSON object. Its "
    '"ranking" is the list of all red numbers, each once, the most suitable first.'
)
REASON = 'Its "reason" says in one short sentence what in the best product\'s picture makes it the best.'
CAPTION = 'Its "caption" describes the picture with the blue border in one short sentence.'

Structured = Literal["json_schema", "json_object", "none"]
SENTENCE_TOKENS = 80


@dataclass(kw_only=True, eq=False)
class ServerReranker(RemoteReranker):
    """A vision-language model on a server writes the ranking; what it drops, repeats or invents is repaired later.

    Caption and reason are the model's own words, which nobody has checked.
    """

    structured: Structured = "json_schema"
    """The request's ``response_format``; "none" for a server that refuses the field."""
    caption: bool = True
    """Whether the model describes the query's picture in a sentence."""
    reason: bool = True
    """Whether the model says why the best is the best."""
    parameters: Mapping[str, object] = field(default_factory=lambda: {"temperature": 0})
    """Further fields of the request, such as ``{"max_completion_tokens": 500, "max_tokens": None}``; None omits one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen = "c" * self.caption + "r" * self.reason + "t" * self.titles
        self.prompt_version = f"server-{prompts.VERSION}.{VERSION}-{chosen}".rstrip("-")

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        if not candidates:
            return RerankerOutput()
        written = _written(self._endpoint.ask("/chat/completions", self._question(query, candidates)))
        # A model that thinks aloud mentions numbers there too.
        answer = written.rpartition("</think>")[2]
        said = parse_json(answer)
        return RerankerOutput(
            labels=said.get("ranking", answer),
            caption=_sentence(said.get("caption")) if query.image is not None else "",
            reason=_sentence(said.get("reason")),
            raw=storable(written),
        )

    def _question(self, query: Query, candidates: Sequence[Candidate]) -> dict[str, object]:
        sheet = collage([candidate.image for candidate in candidates], query.image)
        names = ["ranking"]
        names += ["caption"] if self.caption and query.image is not None else []
        names += ["reason"] if self.reason else []
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64_jpeg(sheet)}"}},
            {"type": "text", "text": self._words(query, candidates, names)},
        ]
        question: dict[str, object] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 40 + 6 * len(candidates) + SENTENCE_TOKENS * (len(names) - 1),
        }
        if self.structured == "json_schema":
            schema = {"name": "ranking", "strict": True, "schema": _schema(names, len(candidates))}
            question["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.structured == "json_object":
            question["response_format"] = {"type": "json_object"}
        return {
            name: value for name, value in (question | dict(self.parameters)).items() if value is not None
        }

    def _words(self, query: Query, candidates: Sequence[Candidate], names: Sequence[str]) -> str:
        texts = [candidate.text for candidate in candidates]
        shown = query.image is not None
        lines = [*prompts.told(texts, text=query.text, query_shown=shown, titles=self.titles), RANK]
        lines += [REASON] if "reason" in names else []
        lines += [CAPTION] if "caption" in names else []
        return "\n".join(lines)

    def _wrong(self) -> Any:
        yield from super()._wrong()
        if self.structured not in get_args(Structured):
            yield f"The reranker's structured cannot be {self.structured!r}; use {', '.join(get_args(Structured))}."


def _schema(names: Sequence[str], count: int) -> dict[str, object]:
    """The answer's JSON schema. The ranking comes first, so that a truncated answer still has it."""
    ranking = {"type": "array", "items": {"type": "integer", "enum": list(range(1, count + 1))}}
    properties = {name: ranking if name == "ranking" else {"type": "string"} for name in names}
    return {
        "type": "object",
        "properties": properties,
        "required": list(names),
        "additionalProperties": False,
    }


def _written(answer: Mapping[str, Any]) -> str:
    """The model's text; "" if it refused. Raises RerankerError if the answer is not a chat completion."""
    try:
        content = answer["choices"][0]["message"].get("content")
    except (LookupError, TypeError, AttributeError) as error:
        raise RerankerError("The model server's answer is not a chat completion.") from error
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _sentence(said: object) -> str:
    return prompts.sentence(said) if isinstance(said, str) else ""
