# case: what every end-to-end test starts from, and the table of what was tried.
# SPDX-License-Identifier: Apache-2.0
import unittest

world = None      # set by main before the tests run
rows = {}         # (client, protocol, TLS mode) -> worst result


class Case(unittest.TestCase):
    needs_postern = True   # False: makes sense straight against the servers too
    row = None             # (client, protocol, TLS mode) of the table

    @property
    def world(self):
        return world
