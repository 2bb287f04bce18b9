# mutant_list: reads mutants.txt, for run.py and for the lint that looks whether it is stale.
# SPDX-License-Identifier: Apache-2.0
import re
from typing import NamedTuple


class Mutant(NamedTuple):
    line: int  # where it stands in the list
    name: str
    file: str  # from the root
    old: str   # part of one line, which stands there exactly once
    new: str


def parse(text):
    """Paragraphs of four lines: name, file, "- " old text, "+ " new text; "#" begins a comment.

    Raises ValueError, which names the line, where a paragraph is anything else.
    """
    mutants = []
    # A comment is taken out, its line is not: lines are counted.
    lines = "\n".join("" if line.startswith("#") else line for line in text.split("\n"))
    for paragraph in re.finditer(r"^.+(?:\n.+)*", lines, re.M):
        line = lines.count("\n", 0, paragraph.start()) + 1
        parts = paragraph.group(0).split("\n")
        if len(parts) != 4 or not parts[2].startswith("- ") or not parts[3].startswith("+ "):
            raise ValueError(f"line {line}: not a name, a file, \"- \" old text, \"+ \" new text: {parts[0]}")
        mutants.append(Mutant(line, parts[0], parts[1], parts[2][2:], parts[3][2:]))
    return mutants
