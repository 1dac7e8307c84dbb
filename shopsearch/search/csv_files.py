"""CSV files of what staff edit: read with errors that say where, and written as they are read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from django.utils.translation import gettext as _

MAX_BYTES = 2_000_000
"""Of a file that is imported."""


class Unusable(ValueError):
    """A file that cannot be used; the message says where, and what to do."""


def lines_of(
    content: bytes, columns: Sequence[str], needed: Iterable[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The number and the values of each line, "" for what it lacks. Raises Unusable.

    The first line names the columns, the needed ones at least. Semicolons may stand for commas, as some spreadsheets
    write them.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable(_("The file is not UTF-8: save it as CSV UTF-8.")) from error
    if "\0" in text:
        raise Unusable(_("The file is no text: save it as CSV UTF-8."))
    first = text.partition("\n")[0]
    lines = csv.DictReader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        if not set(needed) <= set(lines.fieldnames or ()):
            raise Unusable(
                _("The first line has to name the columns: %(names)s.") % {"names": ",".join(columns)}
            )
        for line in lines:
            yield lines.line_num, {name: (line.get(name) or "").strip() for name in columns}
    except csv.Error as error:
        problem = {"line": lines.line_num, "error": error}
        raise Unusable(_("Line %(line)s is not CSV: %(error)s.") % problem) from error


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The file that ``lines_of`` reads."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()
