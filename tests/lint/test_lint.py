#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each rule of lint.py finds its bad sample and lets the good one pass."""
import unittest

import lint

HEAD = "/* SPDX-License-Identifier: BSD-3-Clause */\n/* What this sample is and how it works, in a sentence. */\n"
TREE = {"core/io.h", "core/base/list.h", "core/spec/nvme.h", "drivers/nvme/nvme.h", "drivers/pci/pci.h",
        "targets/nvmf/req.h", "boot/boot.h", "drivers/ram/ram.c"}

# rule, path, bad text, good text
SAMPLES = [
    ("layers", "core/bdev.c", '#include "drivers/nvme/nvme.h"', '#include "core/base/list.h"'),
    ("layers", "core/base/list.c", '#include "core/io.h"', '#include "list.h"'),
    ("layers", "drivers/ram/ram.c", '#include "targets/nvmf/req.h"', '#include "core/io.h"'),
    ("layers", "drivers/ram/ram.c", '#include "../nvme/nvme.h"', '#include "core/spec/nvme.h"'),
    ("layers", "targets/nvmf/tcp.c", '#include "boot/boot.h"', '#include "req.h"'),
    ("layers", "drivers/ram/ram.c", '#include "missing.h"', "#include <stdint.h>"),
    ("layers", "core/bdev.c", "#include <rte_malloc.h>", "#include <stdlib.h>"),
    ("layers", "core/bdev.c", "#include <karst/autoconf.h>", "#include <errno.h>"),
    ("layers", "boot/main.c", '#include "drivers/ram/ram.c"', '#include "drivers/nvme/nvme.h"'),
    ("file_size", "core/a.c", "int x;\n" * 501, "int x;\n" * 400),
    ("function_size", "core/a.c", "int f(void)\n{\n" + "\tg();\n" * 61 + "}", "int f(void)\n{\n" + "\tg();\n" * 60 + "}"),
    ("columns", "core/a.c", "\t" * 12 + "int x;", "\t" * 11 + "int x;"),
    ("whitespace", "core/a.c", "int x; ", "int x;"),
    ("whitespace", "core/a.c", "    int x;", "\tint x;"),
    ("names", "core/a.c", "int badName(void)\n{\n}", "int good_name(void)\n{\n}"),
    ("names", "core/a.c", "int rte_thing(void)\n{\n}", "static int rte_thing(void)\n{\n}"),
    ("names", "core/a.h", "struct BadName {\n};", "struct good_name {\n};"),
    ("names", "core/a.h", "typedef struct x x_t;", "typedef void (*done_fn)(struct io *io);"),
    ("names", "drivers/nvme/a.c", "int nvme_ctrlr;", "int nvme_ctrl;"),
    ("names", "core/common.c", "int x;", None),
    ("config", "core/a.c", "#ifdef CONFIG_FOO", "/* CONFIG_FOO is read elsewhere */"),
    ("prototypes", "core/a.c", "int other(int x);", "static int other(int x);"),
    ("prototypes", "core/a.c", "extern int x;", "int x = f(1);"),
    ("calls", "core/a.c", "\tstrcpy(a, b);", "\tmemcpy(a, b, n);"),
    ("calls", "core/a.c", "\tx = time(NULL);", "\tx = run_time(io);"),
    ("formats", "core/spec/a.h", "\tuint8_t x : 3;", "\tuint8_t x;"),
    ("sleep", "tests/unit/test_a.c", "\tusleep(10);", "\ttask_sleep(10);"),
    ("sleep", "tests/system/test_a.py", "time.sleep(1)", "event.wait()"),
    ("comments", "core/a.c", "/* x = y; */", "/* x is y; z is not */"),
    ("comments", "core/a.c", "// why", "/* why */"),
    ("smells", "README.md", "TO" + "DO later", "to do"),
    ("smells", "README.md", "see /wo" + "rk/shared", "see $O/wo" + "rk/x"),
]


class LintTest(unittest.TestCase):
    def found(self, path, text, head=HEAD):
        source = lint.Source(path, (head if path.endswith((".c", ".h")) else "") + text + "\n")
        return {finding.rule for finding in lint.check_source(source, TREE)}

    def test_rules_find_bad_and_pass_good(self):
        for rule, path, bad, good in SAMPLES:
            with self.subTest(rule=rule, bad=bad[:60]):
                self.assertIn(rule, self.found(path, bad))
                if good is not None:
                    self.assertNotIn(rule, self.found(path, good))

    def test_every_rule_has_a_sample(self):
        self.assertEqual(set(lint.RULES), {sample[0] for sample in SAMPLES} | {"head"})

    def test_head(self):
        self.assertIn("head", self.found("core/a.c", "int x;", head=""))
        self.assertIn("head", self.found("core/a.c", "int x;", head="/* SPDX-License-Identifier: BSD-3-Clause */\n"))
        self.assertNotIn("head", self.found("core/a.c", "int x;"))

    def test_kconfig(self):
        bad = lint.Source("core/Kconfig", 'config A\n\tint "a"\n\tdefault 1\n')
        good = lint.Source("core/Kconfig", 'config A\n\tint "a"\n\trange 1 2\n\tdefault 1\n\thelp\n\t  What.\n')
        user = lint.Source("core/config.c", "int x = CONFIG_B;\n")
        self.assertEqual(len(lint.check_kconfig([bad])), 2)
        self.assertEqual(lint.check_kconfig([good]), [])
        self.assertEqual(len(lint.check_kconfig([good, user])), 1)


if __name__ == "__main__":
    unittest.main()
