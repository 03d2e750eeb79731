# SPDX-License-Identifier: MIT
"""Reports as one HTML file that needs no network: the shell of the page, and the pages of each kind of result."""
