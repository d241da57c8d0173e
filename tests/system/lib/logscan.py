# SPDX-License-Identifier: BSD-3-Clause
"""Finds in a log what must never be there: a panic, a failed assertion, a sanitizer's report."""
import re

TROUBLE = re.compile(
    r"^.*(panic\b|assertion failed|AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|"
    r"runtime error:|Kernel panic|Oops:|BUG:|WARNING: CPU|last karst:|hung; killing).*$", re.M)


def trouble(text, allowed=None):
    """Lines of TEXT that tell of trouble, but those that match the expression ALLOWED."""
    return [m.group().strip() for m in TROUBLE.finditer(text)
            if not (allowed and re.search(allowed, m.group()))]
