"""Tables that people make: CSV files with a line of names above."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from tagger.errors import SourceError


def rows(
    file: TextIO, wanted: Mapping[str, Sequence[str]], perhaps: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a table by their numbers, with the columns ``wanted``, each under any of its names, and
    those that are there ``perhaps``, else empty. Commas, semicolons or tabs; blanks around values go.

    Raises :class:`SourceError`, saying what is wrong and where, for what is no such table.
    """
    try:
        head = file.readline().lstrip("\ufeff")
        delimiter = max(",;\t", key=head.count)
        names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter), [])]
        columns = {column: _column(names, any_of, wanted) for column, any_of in wanted.items()}
        columns |= {name: name for name in perhaps if name in names}
        table = csv.DictReader(file, names, delimiter=delimiter, restval="")
        for row in table:
            values = {column: (row[name] or "").strip() for column, name in columns.items()}
            yield table.line_num + 1, dict.fromkeys(perhaps, "") | values
    except csv.Error as fault:
        raise SourceError(f"the CSV cannot be read: {fault}") from fault


def _column(names: Sequence[str], any_of: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> str:
    for name in any_of:
        if name in names:
            return name
    needed = " and ".join(
        f"{first} (or {', '.join(more)})" if more else first for first, *more in wanted.values()
    )
    raise SourceError(
        f"the first line of the CSV should name its columns, {needed} among them; "
        f"it has: {', '.join(names) or 'nothing'}"
    )
