#!/usr/bin/env python3
# lint: the tree's own rules, checked on its text alone.
#
#   test/lint/lint.py [--strict] [ROOT]
#
# Prints "path:line: what is wrong" for every breach and exits 1 if there is one. What deserves a
# look but breaks no rule is printed as "note:"; --strict counts notes too. Rules are the functions
# in RULES; lint_test.py plants a breach of each.
# SPDX-License-Identifier: Apache-2.0
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mutants"))
import mutant_list  # noqa: E402

CODE_FOLDERS = ("lb", "conf", "metrics", "health", "test")
TEXT_FOLDERS = CODE_FOLDERS + ("packaging", ".ci")
TEXT_ENDINGS = (".cc", ".h", ".c", ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".service", ".in",
                ".yml", ".yaml")
SKIPPED_FOLDERS = ("build", "__pycache__", "corpus", ".git")

ASK_WHY_LINES = 600
MAX_LINES = 1000
MAX_COLUMNS = 100
MAX_HEAD_LINES = 40

# What the picture of the floors in lb/README.md does not show: plain structs, and one generated file.
EXTRA_INCLUDES = {
    "metrics": {"conf/config.h"},
    "lb/proto": {"conf/config.h"},
    "lb/main.cc": {"revision.h"},
}

# Header of a library: the boxes that may see it. Tests of such a box may, too.
THIRD_PARTY = [
    (re.compile(r"event2/|event\.h$|evhttp\.h$"), {"lb/net"}),
    (re.compile(r"ares(_\w+)?\.h$"), {"lb/net"}),
    (re.compile(r"hiredis/"), {"lb/directory"}),
    (re.compile(r"ldap(_\w+)?\.h$|lber"), {"lb/directory"}),
    (re.compile(r"openssl/"), {"lb/tls"}),
    (re.compile(r"nlohmann/"), {"conf"}),
    (re.compile(r"prometheus/"), {"metrics"}),
    (re.compile(r"re2/"), {"conf", "lb/route"}),
    (re.compile(r"CLI/"), {"lb/main.cc"}),
    (re.compile(r"(gtest|gmock|benchmark)/"), set()),
]
# Whole servers and clients of real protocols are played by tests.
TESTS_WITH_TLS = ("test/support/", "test/integration/", "test/net/", "test/fuzz/")

# Sockets, files and threads are no business of what takes bytes or values and gives bytes or values.
SYSTEM_HEADERS = re.compile(
    r"(sys/(socket|un|epoll|select|stat|mman|wait|resource)|netinet/\w+|arpa/inet|netdb|unistd|fcntl|"
    r"poll|pthread|signal)\.h$|(fstream|iostream|thread|future|csignal|filesystem|condition_variable)$")
PURE_BOXES = ("lb/proto", "lb/route", "lb/balance", "lb/session", "lb/directory", "lb/io",
              "health")
# The helper postern-ldap is a process of its own, and blocks; ldap_passing is the way to it.
OF_HELPERS = ("lb/directory/ldap_main.", "lb/directory/ldap_passing.", "lb/directory/ldap_pool.",
              "lb/directory/ldap_search.")

# Chance and time are parameters, so that every run can be repeated.
CLOCKS_AND_CHANCE = re.compile(
    r"\b(?:(?:system|steady|high_resolution|utc|file)_clock\s*::\s*now"
    r"|(?:clock_gettime|gettimeofday|timespec_get|ftime)\s*\("
    r"|(?:std\s*::\s*)?\btime\s*\(\s*(?:nullptr|NULL|0|&\w+)\s*\)"
    r"|random_device"
    r"|(?:s?rand|s?random|[dejlmn]rand48|rand_r|arc4random\w*)\s*\("
    r"|sleep_for|sleep_until|(?:u|nano|clock_nano)?sleep\s*\()")
MAY_READ_CLOCKS = ("lb/net/", "lb/base/", "test/bench/")

UNSAFE_CALLS = re.compile(
    r"\b(?:atoi|atol|atoll|atof|gets|strcpy|strcat|sprintf|vsprintf|strtok|gmtime|localtime|ctime|"
    r"asctime|mktemp|tmpnam|alloca)\s*\(|\bstd\s*::\s*regex\b")

# In pieces, so that this file does not find itself.
FOREIGN_WORDS = [
    (re.compile(r"(?<![\w.])/(?:wo" r"rk|tmp/br" r"ief|ro" r"ot|ho" r"me/\w+)/"), "a path of one machine"),
    (re.compile(r"\b[Ii]ss" r"ues?[ /]#?\d+|\bissue_\d+|\biss" r"ues show"), "the number of an issue"),
    (re.compile(r"\b(?:Cla" r"ude|Anthro" r"pic|Chat" r"GPT|Copi" r"lot|LL" r"M|A" r"I)\b"),
     "a word about how the text was made"),
    (re.compile(r"\b(?:TO" r"DO|FIX" r"ME|HA" r"CK)\b|\bXX" r"X\b"), "work left undone"),
]
FOREIGN_WORDS_ALLOWED = ("LICENSE",)

MUTANTS = "test/mutants/mutants.txt"
SIM_MUTANTS = "test/mutants/sim_mutants.txt"

SKIPPED_TESTS = re.compile(r"\bGTEST_SKIP\b|\bDISABLED_\w+|@(?:unittest\.)?skip|\bself\.skipTest\b")


class File:
    """A text file: its path from the root, its lines, and its code without comments and strings."""

    _blanked = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])*\'',
        re.DOTALL)

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        self._code = None

    @property
    def is_cpp(self):
        return self.path.endswith((".cc", ".h"))

    @property
    def code(self):
        if self._code is None:
            self._code = self._blanked.sub(
                lambda match: re.sub(r"[^\n]", " ", match.group(0)), self.text)
        return self._code

    def line_at(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def find_in_code(self, pattern):
        for match in pattern.finditer(self.code):
            yield self.line_at(match.start()), " ".join(match.group(0).split()).rstrip("( ")

    def includes(self):
        for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', self.text, re.M):
            yield self.line_at(match.start()), match.group(1), match.group(2)


class Tree:
    """All files that the rules look at, and the floors as lb/README.md draws them."""

    def __init__(self, root):
        self.files = {}
        for folder in TEXT_FOLDERS:
            for parent, folders, names in os.walk(os.path.join(root, folder)):
                folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
                for name in sorted(names):
                    self._read(root, os.path.join(parent, name))
        for name in sorted(os.listdir(root)):
            self._read(root, os.path.join(root, name))
        self.floors = self._draw_floors()

    def _read(self, root, path):
        if not os.path.isfile(path):
            return
        name = os.path.basename(path)
        if not (path.endswith(TEXT_ENDINGS) or name in ("LICENSE", "Dockerfile", "run")):
            return
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            relative = os.path.relpath(path, root)
            self.files[relative] = File(relative, file.read())

    def _draw_floors(self):
        floors = {}
        for line in self.files["lb/README.md"].lines if "lb/README.md" in self.files else []:
            match = re.match(r" (\d)  (\S.*)", line)
            if not match:
                continue
            # What follows the boxes on the line is a remark.
            boxes = re.match(r"(?:[\w/.]+(?:\s*\([^)]*\))?(?:\s*\|\s*)?)+", match.group(2)).group(0)
            for box in re.findall(r"lb/main\.cc|(?:lb/)?\w+/", boxes):
                floors[box.rstrip("/")] = int(match.group(1))
        return floors

    def box_of(self, path):
        for box in self.floors:
            if path == box or path.startswith(box + "/"):
                return box
        return None

    def cpp(self):
        return [file for file in self.files.values() if file.is_cpp]


def floors_are_drawn(tree):
    """lb/README.md draws the floors, and every folder of code stands on one."""
    if not tree.floors:
        yield "lb/README.md", 1, "draws no floors"
    for file in tree.cpp():
        if not file.path.startswith("test/") and tree.box_of(file.path) is None:
            yield file.path, 1, "is in no box that lb/README.md draws"


def includes_go_down(tree):
    for file in tree.cpp():
        own = tree.box_of(file.path)
        is_test = file.path.startswith("test/")
        for line, quote, target in file.includes():
            if quote == "<" and target not in tree.files:
                continue
            if quote == "<":
                yield file.path, line, f"includes {target} with <>, as if it were a library's"
                continue
            if is_test or target in EXTRA_INCLUDES.get(own, ()):
                continue
            box = tree.box_of(target)
            if target.startswith("test/"):
                yield file.path, line, f"includes {target}, which is of the tests"
            elif box is None:
                yield file.path, line, f"includes {target}, which is in no box (paths start at the root)"
            elif own is not None and box != own and tree.floors[box] >= tree.floors[own]:
                yield (file.path, line, f"includes {target}: {own} is on floor {tree.floors[own]} and "
                       f"{box} on floor {tree.floors[box]}")


def libraries_stay_in_their_box(tree):
    for file in tree.cpp():
        own = tree.box_of(file.path)
        for line, _, target in file.includes():
            for pattern, boxes in THIRD_PARTY:
                if not pattern.match(target) or own in boxes:
                    continue
                if file.path.startswith("test/") and may_test_see(file.path, target, boxes):
                    continue
                where = ", ".join(sorted(boxes)) or "tests"
                yield file.path, line, f"includes {target}, which only {where} may see"


def may_test_see(path, target, boxes):
    if target.startswith(("gtest/", "gmock/", "benchmark/")):
        return True
    if target.startswith("openssl/") and path.startswith(TESTS_WITH_TLS):
        return True
    mirror = path.split("/")[1]
    return any(mirror == os.path.basename(box) for box in boxes)


def pure_boxes_see_no_system(tree):
    for file in tree.cpp():
        own = tree.box_of(file.path)
        if own not in PURE_BOXES or file.path.startswith(OF_HELPERS):
            continue
        for line, _, target in file.includes():
            if SYSTEM_HEADERS.match(target):
                yield file.path, line, f"includes {target}: {own} touches no sockets, files or threads"


def clocks_and_chance_are_parameters(tree):
    for file in tree.cpp():
        if file.path.startswith(MAY_READ_CLOCKS):
            continue
        for line, call in file.find_in_code(CLOCKS_AND_CHANCE):
            yield file.path, line, f"{call}: time and chance come from Loop, Clock and Rng"


def calls_are_safe(tree):
    for file in tree.cpp():
        if file.path.startswith("test/"):
            continue
        for line, call in file.find_in_code(UNSAFE_CALLS):
            yield file.path, line, f"{call} is not used here"


def own_code_does_not_throw(tree):
    pattern = re.compile(r"\bthrow\b")
    for file in tree.cpp():
        if file.path.startswith("test/"):
            continue
        for line, _ in file.find_in_code(pattern):
            yield file.path, line, "throws; errors are values"


def headers_open_no_namespace(tree):
    pattern = re.compile(r"\busing\s+namespace\s+(?!std::chrono_literals\b|std::string_view_literals\b)\w+")
    for file in tree.cpp():
        if file.path.endswith(".h"):
            for line, what in file.find_in_code(pattern):
                yield file.path, line, f"{what} in a header"


def heads_say_what_it_is(tree):
    for file in tree.cpp():
        stem = os.path.splitext(os.path.basename(file.path))[0]
        if not re.match(rf"// {re.escape(stem)}: \S", file.lines[0]):
            yield file.path, 1, f'does not start with "// {stem}: what it is"'
        if file.path.endswith(".h") and "#pragma once" not in file.lines:
            yield file.path, 1, "has no #pragma once"


def licence_is_named_once(tree):
    tag = "SPDX-License-" + "Identifier"
    for file in tree.files.values():
        if not file.path.endswith((".cc", ".h", ".c", ".py", ".sh")):
            continue
        lines = [number for number, line in enumerate(file.lines, 1) if tag in line]
        if not lines or lines[0] > MAX_HEAD_LINES:
            yield file.path, 1, f'does not say "{tag}: Apache-2.0" in its head'
        elif len(lines) > 1:
            yield file.path, lines[1], "names its licence twice"


def files_are_short(tree):
    for file in tree.cpp():
        num_lines = file.text.count("\n")
        if num_lines > MAX_LINES:
            yield file.path, num_lines, f"is longer than {MAX_LINES} lines"


def lines_are_clean(tree):
    for file in tree.files.values():
        is_code = file.path.endswith((".cc", ".h", ".py", ".sh"))
        if not is_code:
            continue
        if file.text and not file.text.endswith("\n"):
            yield file.path, len(file.lines), "does not end with a newline"
        for number, line in enumerate(file.lines, 1):
            if line.endswith((" ", "\t", "\r")):
                yield file.path, number, "white space at the end of the line"
            if file.is_cpp and "\t" in line:
                yield file.path, number, "a tab"


def words_are_our_own(tree):
    for file in tree.files.values():
        if file.path in FOREIGN_WORDS_ALLOWED:
            continue
        for pattern, what in FOREIGN_WORDS:
            for match in pattern.finditer(file.text):
                yield file.path, file.line_at(match.start()), f"{what}: {match.group(0).strip()}"


def tests_are_run(tree):
    for file in tree.files.values():
        if not file.path.startswith("test/") or file.path.startswith("test/lint/"):
            continue
        text = file.code if file.is_cpp else file.text
        for match in SKIPPED_TESTS.finditer(text):
            yield file.path, file.line_at(match.start()), f"a skipped test: {match.group(0)}"


def mutants_find_their_text(tree):
    """A defect of test/mutants that cannot be planted proves nothing any more."""
    for the_list in (MUTANTS, SIM_MUTANTS):
        if the_list not in tree.files:
            continue
        try:
            mutants = mutant_list.parse(tree.files[the_list].text)
        except ValueError as error:
            yield the_list, 1, str(error)
            continue
        for mutant in mutants:
            file = tree.files.get(mutant.file)
            if file is None:
                yield the_list, mutant.line, f'"{mutant.name}": {mutant.file} is not there'
            elif file.text.count(mutant.old) != 1:
                yield (the_list, mutant.line, f'"{mutant.name}": {mutant.file} has its old text '
                       f"{file.text.count(mutant.old)} times")


def note_mangled_heads(tree):
    """Each of Thread:, Tests: and the licence has a line of its own."""
    label = re.compile(r"//.*\S.*[ .](Thread|Tests|Owner|Limits|Rules|Why so|SPDX-License-" r"Identifier): ")
    for file in tree.cpp():
        for number, line in enumerate(file.lines, 1):
            match = label.match(line)
            if not line.startswith("//"):
                break
            if match and not re.match(r"// (Owner|Thread): .*   Thread: ", line):
                yield file.path, number, f'"{match.group(1)}:" begins a line'


def note_long_files(tree):
    for file in tree.cpp():
        num_lines = file.text.count("\n")
        if ASK_WHY_LINES < num_lines <= MAX_LINES:
            yield file.path, num_lines, f"is longer than {ASK_WHY_LINES} lines"


def note_long_lines(tree):
    for file in tree.cpp():
        for number, line in enumerate(file.lines, 1):
            if len(line) > MAX_COLUMNS and "://" not in line and 'R"' not in line:
                yield file.path, number, f"is wider than {MAX_COLUMNS} columns"


def note_missing_tests(tree):
    """What the head of a header names as its tests exists."""
    folders = {os.path.dirname(path) for path in tree.files}
    for file in tree.cpp():
        for number, line in enumerate(file.lines, 1):
            if not line.startswith("//"):
                break
            for named in re.findall(r"\btest/[\w/]+(?:\.(?:cc|h|py|txt))?", line):
                is_there = named in tree.files or any(
                    folder == named.rstrip("/") or folder.startswith(named.rstrip("/") + "/")
                    for folder in folders)
                if not is_there and not any(path.startswith(named + ".") for path in tree.files):
                    yield file.path, number, f"names {named}, which is not there"


RULES = [floors_are_drawn, includes_go_down, libraries_stay_in_their_box, pure_boxes_see_no_system,
         clocks_and_chance_are_parameters, calls_are_safe, own_code_does_not_throw,
         headers_open_no_namespace, heads_say_what_it_is, licence_is_named_once, files_are_short,
         lines_are_clean, words_are_our_own, tests_are_run, mutants_find_their_text]
NOTES = [note_mangled_heads, note_long_files, note_long_lines, note_missing_tests]


def run(rules, tree):
    return [problem for rule in rules for problem in rule(tree)]


def main(arguments):
    is_strict = "--strict" in arguments
    roots = [argument for argument in arguments if not argument.startswith("--")]
    here = os.path.dirname(os.path.abspath(__file__))
    tree = Tree(roots[0] if roots else os.path.join(here, "..", ".."))
    notes = run(NOTES, tree)
    problems = run(RULES, tree)
    for path, line, what in notes:
        print(f"note: {path}:{line}: {what}")
    for path, line, what in problems:
        print(f"{path}:{line}: {what}")
    print(f"{len(tree.files)} files, {len(problems)} breaches, {len(notes)} notes")
    return 1 if problems or (is_strict and notes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
