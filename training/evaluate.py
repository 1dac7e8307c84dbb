"""How well a trained model finds: figures by kind of query and language, and the curve that led there.

    python -m training.evaluate --folder .var/training --into docs

Writes training.json and pictures/learning_curve.png. The final figures and the curve's are of two exams that share
no product, texture or question, so that nothing was chosen by the figures given.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from shopsearch.types import Query
from training.exam import Exam, Question, in_vain
from training.plot import draw_curve
from training.pool import Drawing, Pictures

TARGETS = {
    "text": 0.90,
    "composed": 0.85,
    "composed, held out": 0.75,
    "image, the same product": 0.90,
}
"""R@1 at least, in either language."""
SPANISH_BEHIND = 0.05
"""At most, in R@1 of any kind."""
MAY_BE_FLAGGED = 0.05
"""Of the questions for what is sold."""
NINE = 9
DISCOUNT = 1 / np.log2(np.arange(2, NINE + 2))
Figures = dict[str, float]


def final_exam() -> Exam:
    return Exam(seed=2, variants=range(152, 168), questions_each=300)


def exam_along_the_way() -> Exam:
    return Exam(seed=1, variants=range(144, 152), questions_each=40)


def sat(
    embedder: VisualizedBGE, exam: Exam, pictures: Mapping[Drawing, Pictures]
) -> dict[str, dict[str, Figures]]:
    """By kind and language: how many questions, R@1, R@5, MRR and nDCG@9. "" is where there are no words."""
    documents = embedder.embed([Query(image=_image(pictures[each])) for each in exam.catalogue])
    vectors = embedder.embed([_query(question, pictures) for question in exam.questions])
    values: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for question, cosines in zip(exam.questions, vectors @ documents.T, strict=True):
        grades = np.array([_grade(question, place, each) for place, each in enumerate(exam.catalogue)])
        order = np.argsort(-cosines, kind="stable")
        values[question.kind, question.language].append(_measures(grades, order))
    told: dict[str, dict[str, Figures]] = defaultdict(dict)
    for (kind, language), rows in values.items():
        means = np.mean(rows, axis=0).round(4).tolist()
        told[kind][language] = {
            "questions": len(rows),
            **dict(zip(("R@1", "R@5", "MRR", "nDCG@9"), means, strict=True)),
        }
    return dict(told)


def flagged(
    embedder: VisualizedBGE, exam: Exam, pictures: Mapping[Drawing, Pictures], *, count: int = 400
) -> Figures:
    """How many questions for things not sold lie below the similarity that few questions for sold things do."""
    documents = embedder.embed([Query(image=_image(pictures[each])) for each in exam.catalogue])
    nearest = [
        (embedder.embed([_query(question, pictures) for question in questions]) @ documents.T).max(1)
        for questions in in_vain(exam, count=count)
    ]
    absent, sold = nearest
    threshold = float(np.quantile(sold, MAY_BE_FLAGGED))
    return {
        "threshold": round(threshold, 4),
        "not sold, flagged": round(float((absent < threshold).mean()), 4),
        "sold, flagged": round(float((sold < threshold).mean()), 4),
    }


def missed(figures: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    """The targets that are not met, each as a sentence."""
    told = []
    for kind, target in TARGETS.items():
        for language, values in figures[kind].items():
            if values["R@1"] < target:
                told.append(f"{kind} {language}: R@1 {values['R@1']:.3f}, target {target:.2f}")
    for kind, languages in figures.items():
        if "es" in languages:
            behind = languages["en"]["R@1"] - languages["es"]["R@1"]
            if behind > SPANISH_BEHIND:
                told.append(f"{kind}: Spanish is {behind:.3f} behind English, target {SPANISH_BEHIND}")
    return told


def _query(question: Question, pictures: Mapping[Drawing, Pictures]) -> Query:
    image = _image(pictures[question.picture]) if question.picture else None
    return Query(text=question.words, image=image)


def _image(pixels: Pictures) -> Image.Image:
    return Image.fromarray(np.asarray(pixels))


def _grade(question: Question, place: int, product: Drawing) -> int:
    """3 for all that is asked, 2 where only the colour is another, 1 for the category or the pattern alone."""
    if question.product is not None:
        return 3 * (place == question.product)
    category = question.category in ("", product.category)
    pattern = question.pattern in ("", product.pattern)
    if category and pattern:
        return 3 if question.colour in ("", product.colour) else 2
    return int(bool(question.category) and (category or pattern))


def _measures(grades: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> tuple[float, ...]:
    rank = int(np.flatnonzero(grades[order] == 3)[0])
    gain, ideal = (
        float(((2.0 ** each[:NINE] - 1) * DISCOUNT).sum()) for each in (grades[order], np.sort(grades)[::-1])
    )
    return float(rank < 1), float(rank < 5), 1 / (1 + rank), gain / ideal


def curve(folder: Path) -> list[dict[str, Any]]:
    """R@1 by kind, both languages together, of every snapshot; what was measured before is not measured again."""
    exam = exam_along_the_way()
    pictures = exam.draw(folder, name="exam-along-the-way")
    known_file = folder / "snapshots.json"
    known: dict[str, dict[str, float]] = json.loads(known_file.read_text()) if known_file.is_file() else {}
    for file in tqdm(sorted((folder / "snapshots").glob("*.safetensors")), desc="snapshots"):
        if file.stem not in known:
            embedder = VisualizedBGE(model=str(folder / "model"), weights=str(file))
            figures = sat(embedder, exam, pictures)
            known[file.stem] = {
                kind: round(float(np.mean([each["R@1"] for each in languages.values()])), 4)
                for kind, languages in figures.items()
            }
            known_file.write_text(json.dumps(known, indent=1))
    return [{"step": int(step), **values} for step, values in sorted(known.items())]


def told(figures: Mapping[str, Mapping[str, Figures]]) -> str:
    """The figures as a table in Markdown."""
    lines = ["| query | language | R@1 | R@5 | MRR | nDCG@9 |", "|---|---|---|---|---|---|"]
    for kind, languages in figures.items():
        for language, values in languages.items():
            row = " | ".join(f"{values[name]:.3f}" for name in ("R@1", "R@5", "MRR", "nDCG@9"))
            lines.append(f"| {kind} | {language} | {row} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(".var/training"))
    parser.add_argument("--model", default="", help="a model's folder, unless it is FOLDER/model")
    parser.add_argument("--into", type=Path, help="where training.json and the learning curve go")
    options = parser.parse_args(arguments)
    exam = final_exam()
    pictures = exam.draw(options.folder, name="exam")
    embedder = VisualizedBGE(model=options.model or str(options.folder / "model"))
    figures = sat(embedder, exam, pictures)
    print(told(figures))
    weak = flagged(embedder, exam, pictures)
    print(weak)
    print("\n".join(missed(figures)) or "All targets are met.")
    if options.into:
        losses = json.loads((options.folder / "curve.json").read_text())
        along = curve(options.folder)
        draw_curve(losses, along, options.into / "pictures" / "learning_curve.png")
        report = {
            "figures": figures,
            "not sold": weak,
            "missed": missed(figures),
            "curve": along,
            "losses": losses,
        }
        (options.into / "training.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
