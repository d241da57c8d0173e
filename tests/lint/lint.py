#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The rules of the house that a machine can check, over every file git knows or would add.

Each rule is one function that yields findings (rule, path, line, message). A finding that is right to keep is
listed in tests/lint/allow.txt with its reason; an entry there that matches nothing any more is a finding too.
Runs on text alone, no compiler, in well under two seconds: docs/design.md says why each rule exists.
"""
import os
import re
import subprocess
import sys
from collections import namedtuple

Finding = namedtuple("Finding", "rule path line text")

FILE_LINES = 500
FUNCTION_LINES = 60
COLUMNS = 100

C_SUFFIXES = (".c", ".h", ".S")
SCRIPT_SUFFIXES = (".py", ".sh", ".mk")
SOURCE_FOLDERS = ("boot", "core", "drivers", "targets", "blob")

# Siblings that may be used by their neighbours, and by whom: PCI is what PCI drivers stand on, a remote
# drive speaks NVMe, and vhost-scsi and iSCSI carry SCSI commands.
SIBLINGS = {
    ("drivers/nvme", "drivers/pci"),
    ("drivers/eth", "drivers/pci"),
    ("drivers/remote", "drivers/nvme"),
    ("targets/vhost", "targets/scsi"),
    ("targets/iscsi", "targets/scsi"),
}
CONFIG_READERS = ("core/config.c", "boot/modules.c")
# Time and randomness stand on nothing, and the log and random UUIDs in core/base stand on them.
CLOCK_FILES = ("core/clock.c", "core/clock.h")
CLOCK_OWNERS = re.compile(r"core/clock\w*\.c|boot/init\w*\.c")
THIRD_PARTY = (
    (re.compile(r"rte_"), re.compile(r".*_eal\.c|drivers/eth/.*|targets/vhost/.*"), "DPDK belongs in *_eal.c"),
    (re.compile(r"(infiniband|rdma)/(?!rdma_netlink)"), re.compile(r"core/rdma_verbs\w*\.[ch]"),
     "verbs belong in core/rdma_verbs*.c"),
    (re.compile(r"lwip/"), re.compile(r"drivers/eth/.*"), "lwIP belongs in drivers/eth"),
)
FOREIGN_PREFIXES = ("tcp_", "netif_", "mem_", "sys_", "rte_", "vhost_", "ibv_", "rdma_")
UNSAFE_CALLS = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|strtok|alloca)\s*\(")
CLOCK_CALLS = re.compile(r"(?<![\w.>])(clock_gettime|gettimeofday|time|rand|random|rand_r|getrandom|srand)\s*\(")
VAGUE_FILES = re.compile(r"(common|helpers?|misc|utils|stuff)\.[ch]$")

# Spelled so that this file does not contain what it forbids.
SMELLS = [re.compile(p) for p in (
    r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bXX" r"X\b", r"\bHA" r"CK\b", r"\bW" r"IP\b",
    r"(?i)\bfor n" r"ow\b", r"(?i)\bnot implemented y" r"et\b", r"(?i)\bplace" r"holder\b",
    r"\bA" r"I\b", r"(?i)\bclau" r"de\b", r"(?i)\banthro" r"pic\b", r"(?i)\bchat" r"gpt\b", r"(?i)\bcopi" r"lot\b",
    r"(?<![\w.$)}])/wo" r"rk/", r"(?i)\bissue #\d", r"(?i)\b(deb|security|snapshot)\.deb" r"ian\.org",
    r"(?i)\bpypi\.o" r"rg", r"(?i)\bproxy\.golang\.o" r"rg")]


class Source:
    """One text file: its lines, and for C also its code with comments and strings blanked out."""

    def __init__(self, path, text):
        self.path = path
        self.folder = os.path.dirname(path)
        self.text = text
        self.lines = text.split("\n")
        if self.lines and self.lines[-1] == "":
            self.lines.pop()
        self.is_c = path.endswith(C_SUFFIXES)
        self.code = blank_comments(text).split("\n") if self.is_c else self.lines
        self.in_house = path.split("/")[0] in SOURCE_FOLDERS

    def at(self, number):
        return self.lines[number - 1]


TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def blank_comments(text):
    """Comments and the insides of strings become spaces; include lines keep their names."""

    def blank(match):
        token = match.group(0)
        if token[0] == '"' and text.rfind("\n", 0, match.start()) + 1 == text.rfind("#include", 0, match.start()):
            return token
        if token[0] in "\"'":
            return token[0] + " " * (len(token) - 2) + token[0]
        return re.sub(r"[^\n]", " ", token)

    return TOKENS.sub(blank, text)


# Layers and what may be included

def layer_of(path):
    """The folder that is the unit of layering: core/base, core/spec, core, drivers/x, targets/x, blob, boot."""
    parts = path.split("/")
    if path in CLOCK_FILES:
        return "core/base"
    if parts[0] == "core":
        return "core/" + parts[1] if len(parts) > 2 and parts[1] in ("base", "spec") else "core"
    if parts[0] in ("drivers", "targets") and len(parts) > 2:
        return parts[0] + "/" + parts[1]
    return parts[0]


def may_include(user, used):
    if user == used or user == "boot":
        return True
    if user in ("core/base", "core/spec"):
        return used == "core/base"
    if used in ("core/base", "core/spec"):
        return True
    if user == "core":
        return False
    return used == "core" or (user, used) in SIBLINGS


def rule_layers(source, tree):
    if not source.is_c or not source.in_house:
        return
    for number, line in enumerate(source.code, 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not match:
            continue
        kind, name = match.groups()
        if name.endswith("autoconf.h"):
            if source.path not in CONFIG_READERS:
                yield number, "autoconf.h is for " + " and ".join(CONFIG_READERS)
            continue
        if kind == "<":
            for header, allowed, message in THIRD_PARTY:
                if header.match(name) and not allowed.fullmatch(source.path):
                    yield number, f"<{name}>: {message}"
            continue
        beside = os.path.normpath(os.path.join(source.folder, name))
        used = beside if beside in tree else name if name in tree else None
        if used is None:
            yield number, f'"{name}" is in neither {source.folder}/ nor the top folder'
        elif used.endswith(".c"):
            yield number, f'"{name}": a C file is not to be included'
        elif not may_include(layer_of(source.path), layer_of(used)):
            yield number, f"{layer_of(source.path)} may not include {layer_of(used)} ({used})"


# Sizes

def functions_of(source):
    """(name, first line, last line, is_static) of each function, by kernel braces in the first column."""
    start = None
    for number, line in enumerate(source.code, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            head, first = [], start - 1
            while first > 0 and source.code[first - 1].strip() and not source.code[first - 1].startswith(("}", "#")) \
                    and not source.code[first - 1].rstrip().endswith(";"):
                head.insert(0, source.code[first - 1])
                first -= 1
            text = " ".join(head)
            match = re.search(r"(\w+)\s*\(", text)
            if match:
                yield match.group(1), start, number, bool(re.match(r"\s*static\b", text))
            start = None


def rule_file_size(source, tree):
    if source.path.endswith(C_SUFFIXES + SCRIPT_SUFFIXES) and len(source.lines) > FILE_LINES:
        yield len(source.lines), f"{len(source.lines)} lines, at most {FILE_LINES}: split it by noun"


def rule_function_size(source, tree):
    if source.is_c:
        for name, first, last, _ in functions_of(source):
            if last - first - 1 > FUNCTION_LINES:
                yield first, f"{name}() has {last - first - 1} lines, at most {FUNCTION_LINES}"


def rule_columns(source, tree):
    if not source.is_c:
        return
    for number, line in enumerate(source.lines, 1):
        if len(line.expandtabs(8)) > COLUMNS:
            yield number, f"{len(line.expandtabs(8))} columns, at most {COLUMNS}"


def rule_whitespace(source, tree):
    if not (source.is_c or source.path.endswith(SCRIPT_SUFFIXES)):
        return
    for number, line in enumerate(source.lines, 1):
        if line != line.rstrip():
            yield number, "white space at the end of the line"
        elif source.is_c and re.match(r" +[^ *]", line) and re.match(r" {4,}\S", source.code[number - 1]):
            yield number, "indent with tabs"
    if source.text and not source.text.endswith("\n"):
        yield len(source.lines), "no newline at the end of the file"


# Heads

def rule_head(source, tree):
    wanted = source.path.endswith(C_SUFFIXES + SCRIPT_SUFFIXES) or os.path.basename(source.path) in ("Makefile", "Kconfig")
    if not wanted or not source.text.strip():
        return
    if not any("SPDX-License-Identifier: BSD-3-Clause" in line for line in source.lines[:3]):
        yield 1, "no SPDX-License-Identifier: BSD-3-Clause in the first three lines"
    if source.is_c and not source.path.startswith("tests/"):
        head = "".join(re.findall(r"/\*(.*?)\*/", "\n".join(source.lines[:40]), re.S)[:2])
        if len(re.sub(r"SPDX-License-Identifier: \S+|[\s*]", "", head)) < 30:
            yield 1, "no head comment that says what this file is and how it works"


# Names

def rule_names(source, tree):
    if VAGUE_FILES.search(source.path):
        yield 1, "name the file after its noun"
    if not source.is_c or source.path.startswith("tests/fuzz/"):
        return
    for name, first, _, is_static in functions_of(source):
        if name != name.lower() and not name.isupper():
            yield first, f"{name}(): lower case with underscores"
        if not is_static and source.in_house and name.startswith(FOREIGN_PREFIXES):
            yield first, f"{name}(): that prefix belongs to a library"
    for number, line in enumerate(source.code, 1):
        match = re.match(r"\s*(?:struct|enum|union)\s+(\w*[A-Z]\w*)\s*\{", line)
        if match:
            yield number, f"{match.group(1)}: lower case with underscores"
        if re.match(r"\s*typedef\s+(struct|enum|union)\b[^(]*$", line) and source.path != "core/base/endian.h":
            yield number, "typedef is for function types and endian types"
        match = re.search(r"\b\w*ctrlr\w*\b", line)
        if match and source.in_house:
            yield number, f"{match.group(0)}: this house says ctrl"


# What code may use

def rule_config(source, tree):
    if not source.is_c or source.path in CONFIG_READERS:
        return
    for number, line in enumerate(source.code, 1):
        match = re.search(r"\bCONFIG_[A-Z]\w*", line)
        if match:
            yield number, f"{match.group(0)}: options are read in {' and '.join(CONFIG_READERS)} only"


def rule_prototypes(source, tree):
    """A prototype lives in a header, where its definition is checked against it."""
    if not source.path.endswith(".c") or source.path.startswith("tests/fuzz/"):
        return
    depth = 0
    for number, line in enumerate(source.code, 1):
        if depth == 0:
            if re.match(r"extern\b", line):
                yield number, "extern belongs in a header"
            elif re.match(r"(?!static\b|typedef\b|return\b|else\b|_Static_assert\b)[A-Za-z_][\w\s*]*[\s*]\w+\s*\([^=]*\)[^={]*;\s*$", line):
                yield number, "a prototype belongs in a header, or the function is static"
        depth += line.count("{") - line.count("}")


def rule_calls(source, tree):
    if not source.is_c or not source.in_house:
        return
    for number, line in enumerate(source.code, 1):
        match = UNSAFE_CALLS.search(line)
        if match:
            yield number, f"{match.group(1)}() has no bound"
        match = CLOCK_CALLS.search(line)
        if match and not CLOCK_OWNERS.fullmatch(source.path):
            yield number, f"{match.group(1)}(): time and randomness come from core/clock.h"


def rule_formats(source, tree):
    if source.path.startswith(("core/spec/", "blob/")) and source.path.endswith(".h"):
        for number, line in enumerate(source.code, 1):
            if re.search(r"\b\w+\s+\w+\s*:\s*\d+\s*;", line):
                yield number, "no bit-fields on wire or disk"


def rule_sleep(source, tree):
    if source.path.startswith("tests/") and source.path.endswith((".py", ".c")) and "/lint/" not in source.path:
        for number, line in enumerate(source.code, 1):
            if re.search(r"\btime\.sleep\s*\(|(?<![\w.>])(sleep|usleep|nanosleep)\s*\(", line):
                yield number, "tests wait for events, they do not sleep"


def rule_comments(source, tree):
    if not source.is_c:
        return
    code_like = re.compile(r"^\s*(/\*|\*)?\s*[\w>.\-\[\]]+(\s*=\s*[^=].*|\s*\([^)]*\));\s*(\*/)?\s*$")
    for number, (line, code) in enumerate(zip(source.lines, source.code), 1):
        if re.match(r"\s*//", line):
            yield number, "comments are /* */"
        elif line.strip() and not code.strip() and code_like.match(line):
            yield number, "commented-out code"
        elif re.match(r"\s*#\s*if\s+0\b", code):
            yield number, "commented-out code"


def rule_smells(source, tree):
    for number, line in enumerate(source.lines, 1):
        for smell in SMELLS:
            match = smell.search(line)
            if match:
                yield number, f"\"{match.group(0)}\" has no place in the tree"


RULES = {name[5:]: rule for name, rule in list(globals().items()) if name.startswith("rule_")}


# Kconfig: rules over the whole tree

def check_kconfig(sources):
    defined, findings = set(), []
    for source in sources:
        if not os.path.basename(source.path).startswith("Kconfig"):
            continue
        for block in re.split(r"(?m)^(?=\s*(?:config|menuconfig|choice|menu|endmenu|endchoice|endif|if|source|comment)\b)", source.text):
            match = re.match(r"\s*(?:menu)?config\s+(\w+)\n", block)
            if not match:
                continue
            name = match.group(1)
            defined.add("CONFIG_" + name)
            line = source.text[:source.text.index(block)].count("\n") + 1
            prompted = re.search(r"^\s+(?:bool|int|hex|string|tristate)\s+\"|^\s+prompt\b", block, re.M)
            if prompted and not re.search(r"^\s+help\b", block, re.M):
                findings.append(Finding("kconfig", source.path, line, f"{name} has no help"))
            if re.search(r"^\s+(int|hex)\b", block, re.M) and not re.search(r"^\s+range\b", block, re.M):
                findings.append(Finding("kconfig", source.path, line, f"{name} has no range"))
    for source in sources:
        if source.path in CONFIG_READERS:
            for number, line in enumerate(source.code, 1):
                for name in re.findall(r"\bCONFIG_[A-Z]\w*", line):
                    if name not in defined:
                        findings.append(Finding("kconfig", source.path, number, f"{name} is in no Kconfig"))
    return findings


def check_source(source, tree):
    found = []
    for name, rule in RULES.items():
        found += [Finding(name, source.path, line, text) for line, text in rule(source, tree) or ()]
    return found


def read_allowed(path):
    """Lines of: rule path [word-in-message] # reason."""
    allowed = []
    if os.path.exists(path):
        for number, line in enumerate(open(path, encoding="utf-8"), 1):
            words, _, reason = line.partition("#")
            fields = words.split()
            if fields:
                if not reason.strip():
                    sys.exit(f"{path}:{number}: an entry needs a reason after #")
                allowed.append((number, fields[0], fields[1], fields[2] if len(fields) > 2 else ""))
    return allowed


def list_files(top):
    try:
        out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=top, check=True,
                             capture_output=True).stdout
        return sorted({name for name in out.decode().split("\0") if name and os.path.isfile(os.path.join(top, name))})
    except (OSError, subprocess.CalledProcessError):
        found = []
        for folder, folders, names in os.walk(top):
            folders[:] = [f for f in folders if not f.startswith(".") and not f.startswith("out")]
            found += [os.path.relpath(os.path.join(folder, name), top) for name in names]
        return sorted(found)


def main():
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    files = list_files(top)
    tree = set(files)
    sources = []
    for name in files:
        if "/seeds/" in name or name == "LICENSE":
            continue
        try:
            with open(os.path.join(top, name), encoding="utf-8", newline="") as file:
                sources.append(Source(name, file.read()))
        except UnicodeDecodeError:
            continue
    found = check_kconfig(sources)
    for source in sources:
        found += check_source(source, tree)
    allow_path = "tests/lint/allow.txt"
    used = set()
    kept = []
    allowed = read_allowed(os.path.join(top, allow_path))
    for finding in found:
        matches = [entry for entry in allowed if entry[1] == finding.rule and entry[2] == finding.path
                   and entry[3] in finding.text]
        used.update(entry[0] for entry in matches)
        if not matches:
            kept.append(finding)
    kept += [Finding("allow", allow_path, entry[0], f"{entry[1]} {entry[2]}: matches nothing, remove it")
             for entry in allowed if entry[0] not in used]
    for finding in kept:
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}")
    print(f"lint: {len(sources)} files, {len(kept)} findings")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
