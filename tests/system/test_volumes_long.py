# SPDX-License-Identifier: BSD-3-Clause
"""The long modes of the unit tests of stores: many more seeds than `make check` has time for."""
import os
import re
import subprocess

import pytest

from conftest import artefact


@pytest.mark.deadline(1200)
@pytest.mark.parametrize("program", ["test_blob_model", "test_blob_crash"])
def test_many_seeds(out, figure, program):
    path = artefact(out / "host/unit" / program, "check")
    done = subprocess.run([path], env={**os.environ, "KARST_LONG": "1"}, cwd=out.parent, text=True, capture_output=True,
                          timeout=1100, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    figure(re.search(r"^seeds .*$", done.stdout + done.stderr, re.M).group())
